//! A small shop that keeps a database busy, and knows exactly what it wrote.

mod random;
mod schema;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, TxOpts};

pub(super) use self::random::Random;
use self::schema::{CITIES, NAMES, PRODUCTS, statements};
use super::{Error, Op, Tally};

/// Database that the shop uses.
pub const DATABASE: &str = "shop";

const CUSTOMERS: u64 = 200;
const STOCK: u64 = 1_000_000;
/// Open orders that it keeps in mind.
const OPEN_ORDERS_MAX: usize = 500;
/// Rows of one statement in the big transaction.
const BULK_ROWS_PER_STATEMENT: u32 = 500;

/// A shop over one session. Every step is one transaction.
#[derive(Debug)]
pub struct Workload {
    session: Conn,
    random: Random,
    written: Tally,
    open_orders: Vec<u64>,
    order_last: u64,
    movement_last: u64,
    altered: bool,
}

/// The statements of one transaction, counted.
struct Sale<'a> {
    transaction: mysql_async::Transaction<'a>,
    rows: Tally,
}

impl Sale<'_> {
    async fn run(
        &mut self,
        table: &str,
        op: Op,
        statement: &str,
        values: impl Into<Params> + Send,
    ) -> Result<(), Error> {
        self.transaction.exec_drop(statement, values).await?;
        // Rows that an UPDATE matched but left as they are do not count, here as in the binlog.
        let rows = self.transaction.affected_rows();
        self.rows.add(&format!("{DATABASE}.{table}"), op, rows);
        Ok(())
    }

    async fn commit(self) -> Result<Tally, Error> {
        self.transaction.commit().await?;
        Ok(self.rows)
    }
}

impl Workload {
    /// Opens the shop: creates its database and tables, dropping those of a former one.
    pub async fn open(mut session: Conn, seed: u64) -> Result<Self, Error> {
        for statement in statements(session.server_version()) {
            session.query_drop(statement).await?;
        }
        Ok(Self {
            session,
            random: Random::new(seed),
            written: Tally::default(),
            open_orders: Vec::new(),
            order_last: 0,
            movement_last: 0,
            altered: false,
        })
    }

    /// Goes on over a session of another server that has all that was written.
    pub async fn move_to(&mut self, mut session: Conn) -> Result<(), Error> {
        session.query_drop(format!("USE {DATABASE}")).await?;
        self.session = session;
        Ok(())
    }

    /// Rows written and committed so far.
    pub fn written(&self) -> &Tally {
        &self.written
    }

    /// Fills in customers and products.
    pub async fn stock(&mut self) -> Result<(), Error> {
        let mut sale = begin(&mut self.session).await?;
        for id in 1..=CUSTOMERS {
            let name = *self.random.pick(NAMES);
            let city = *self.random.pick(CITIES);
            let email = format!("{}.{id}@example.com", name.to_lowercase());
            let statement = "INSERT INTO customers (id, name, email, city) VALUES (?, ?, ?, ?)";
            sale.run("customers", Op::Insert, statement, (id, name, email, city)).await?;
        }
        for (id, name) in (1_u64..).zip(PRODUCTS) {
            let price = money(self.random.below(9_900) + 100);
            let attributes = format!(
                r#"{{"grams": {}, "tags": ["new", "{}"]}}"#,
                self.random.below(2_000),
                name.to_lowercase()
            );
            let statement = "INSERT INTO products (id, name, price, stock, attributes) \
                             VALUES (?, ?, ?, ?, ?)";
            sale.run("products", Op::Insert, statement, (id, name, price, STOCK, attributes))
                .await?;
        }
        self.written.merge(&sale.commit().await?);
        Ok(())
    }

    /// Does one of the things that happen in a shop.
    pub async fn step(&mut self) -> Result<(), Error> {
        match self.random.below(10) {
            0..=4 => self.order().await,
            5..=6 => self.ship().await,
            7 => self.cancel().await,
            _ => self.visit().await,
        }
    }

    /// Changes a table's columns, once.
    pub async fn alter(&mut self) -> Result<(), Error> {
        if !self.altered {
            let statement = "ALTER TABLE customers ADD COLUMN points INT NOT NULL DEFAULT 0";
            self.session.query_drop(statement).await?;
            self.altered = true;
        }
        Ok(())
    }

    /// Takes stock: one transaction of `rows` rows.
    pub async fn take_stock(&mut self, rows: u32) -> Result<(), Error> {
        let mut sale = begin(&mut self.session).await?;
        let mut left = rows;
        while left > 0 {
            let now = left.min(BULK_ROWS_PER_STATEMENT);
            left -= now;
            let values: Vec<String> = (0..now)
                .map(|_| {
                    self.movement_last += 1;
                    let product = self.random.below(PRODUCTS.len() as u64) + 1;
                    let count = self.random.below(100);
                    format!("({}, {product}, {count}, 'stocktaking')", self.movement_last)
                })
                .collect();
            let statement = format!(
                "INSERT INTO stock_movements (id, product_id, quantity, reason) VALUES {}",
                values.join(", ")
            );
            sale.run("stock_movements", Op::Insert, &statement, ()).await?;
        }
        self.written.merge(&sale.commit().await?);
        Ok(())
    }

    async fn order(&mut self) -> Result<(), Error> {
        let id = self.order_last + 1;
        let customer = self.random.below(CUSTOMERS) + 1;
        let lines = self.random.below(4) + 1;
        let mut sale = begin(&mut self.session).await?;
        sale.run(
            "orders",
            Op::Insert,
            "INSERT INTO orders (id, customer_id, status) VALUES (?, ?, 'new')",
            (id, customer),
        )
        .await?;
        for line in 1..=lines {
            let product = self.random.below(PRODUCTS.len() as u64) + 1;
            let quantity = self.random.below(3) + 1;
            let price = money(self.random.below(9_900) + 100);
            let statement = "INSERT INTO order_items (order_id, line, product_id, quantity, price) \
                             VALUES (?, ?, ?, ?, ?)";
            let values = (id, line, product, quantity, price);
            sale.run("order_items", Op::Insert, statement, values).await?;
            let statement = "UPDATE products SET stock = stock - ? WHERE id = ?";
            sale.run("products", Op::Update, statement, (quantity, product)).await?;
        }
        self.written.merge(&sale.commit().await?);
        self.order_last = id;
        if self.open_orders.len() < OPEN_ORDERS_MAX {
            self.open_orders.push(id);
        }
        Ok(())
    }

    async fn ship(&mut self) -> Result<(), Error> {
        let Some(id) = self.open_order() else { return self.order().await };
        let amount = money(self.random.below(20_000) + 100);
        let token = self.random.bytes();
        let mut sale = begin(&mut self.session).await?;
        sale.run(
            "payments",
            Op::Insert,
            "INSERT INTO payments (order_id, amount, token) VALUES (?, ?, ?)",
            (id, amount, token),
        )
        .await?;
        let statement = "UPDATE orders SET status = 'shipped', shipped_at = NOW() WHERE id = ?";
        sale.run("orders", Op::Update, statement, (id,)).await?;
        self.written.merge(&sale.commit().await?);
        Ok(())
    }

    async fn cancel(&mut self) -> Result<(), Error> {
        let Some(id) = self.open_order() else { return self.order().await };
        let mut sale = begin(&mut self.session).await?;
        let statement = "DELETE FROM order_items WHERE order_id = ?";
        sale.run("order_items", Op::Delete, statement, (id,)).await?;
        let statement = "DELETE FROM orders WHERE id = ?";
        sale.run("orders", Op::Delete, statement, (id,)).await?;
        self.written.merge(&sale.commit().await?);
        Ok(())
    }

    async fn visit(&mut self) -> Result<(), Error> {
        let id = self.random.below(CUSTOMERS) + 1;
        let city = *self.random.pick(CITIES);
        let points = if self.altered { ", points = points + 1" } else { "" };
        let statement = format!("UPDATE customers SET city = ?{points} WHERE id = ?");
        let mut sale = begin(&mut self.session).await?;
        sale.run("customers", Op::Update, &statement, (city, id)).await?;
        self.written.merge(&sale.commit().await?);
        Ok(())
    }

    fn open_order(&mut self) -> Option<u64> {
        let count = self.open_orders.len() as u64;
        let at = usize::try_from(self.random.below(count.max(1))).ok()?;
        (at < self.open_orders.len()).then(|| self.open_orders.swap_remove(at))
    }
}

async fn begin(session: &mut Conn) -> Result<Sale<'_>, Error> {
    let transaction = session.start_transaction(TxOpts::default()).await?;
    Ok(Sale { transaction, rows: Tally::default() })
}

/// Cents as a decimal number.
fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
