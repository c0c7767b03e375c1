//! The shop's tables and wares.

/// Releases from here on have a JSON type.
const JSON_SINCE: (u16, u16, u16) = (5, 7, 8);

pub(super) const NAMES: &[&str] = &[
    "Ada",
    "Barbara",
    "Chiara",
    "Dennis",
    "Edsger",
    "Frances",
    "Grace",
    "Håkon",
    "Ivo",
    "Jürgen",
    "Kateřina",
    "Linus",
    "Margaret",
    "Niklaus",
    "Özlem",
    "Radia",
    "Søren",
    "Tim",
    "Ursula",
    "Yukihiro",
];

pub(super) const CITIES: &[&str] = &[
    "Aarhus",
    "Bern",
    "Kraków",
    "Lisboa",
    "Málaga",
    "Oslo",
    "Reykjavík",
    "Turin",
    "Zürich",
    "京都",
];

pub(super) const PRODUCTS: &[&str] = &[
    "Anvil", "Bellows", "Chisel", "Drill", "Emery", "File", "Gimlet", "Hammer", "Iron", "Jigsaw",
    "Kettle", "Lathe", "Mallet", "Nippers", "Oilcan", "Plane", "Rasp", "Saw", "Tongs", "Vice",
];

/// Statements that open the shop on a server of this version.
pub(super) fn statements(version: (u16, u16, u16)) -> Vec<String> {
    let json = if version >= JSON_SINCE { "JSON" } else { "TEXT" };
    let mut statements = vec![
        "DROP DATABASE IF EXISTS shop".to_owned(),
        "CREATE DATABASE shop CHARACTER SET utf8mb4".to_owned(),
        "USE shop".to_owned(),
    ];
    let tables = [
        "customers (id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(60) NOT NULL, \
         email VARCHAR(80) NOT NULL, city VARCHAR(40), \
         registered_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            .to_owned(),
        format!(
            "products (id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(60) NOT NULL, \
             price DECIMAL(10, 2) NOT NULL, stock INT NOT NULL, attributes {json})"
        ),
        "orders (id BIGINT UNSIGNED PRIMARY KEY, customer_id BIGINT UNSIGNED NOT NULL, \
         status ENUM('new', 'paid', 'shipped') NOT NULL, \
         ordered_at DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), shipped_at DATETIME)"
            .to_owned(),
        "order_items (order_id BIGINT UNSIGNED, line TINYINT UNSIGNED, \
         product_id BIGINT UNSIGNED NOT NULL, quantity SMALLINT NOT NULL, \
         price DECIMAL(10, 2) NOT NULL, PRIMARY KEY (order_id, line))"
            .to_owned(),
        "payments (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, order_id BIGINT UNSIGNED NOT NULL, \
         amount DECIMAL(12, 2) NOT NULL, token VARBINARY(16), \
         paid_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6))"
            .to_owned(),
        "stock_movements (id BIGINT UNSIGNED PRIMARY KEY, product_id BIGINT UNSIGNED NOT NULL, \
         quantity INT NOT NULL, reason VARCHAR(40))"
            .to_owned(),
    ];
    statements.extend(tables.iter().map(|table| format!("CREATE TABLE {table}")));
    statements
}
