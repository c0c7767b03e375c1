// Package tables keeps a copy of tables in a MySQL database, each row applied exactly once: the numbers of the lanes
// change in the transaction of the rows. The tables are there already, with the columns of the source's.
package tables

import (
	"context"
	"database/sql"
	"time"

	"github.com/go-sql-driver/mysql"

	binpulse "binpulse/client"
	pb "binpulse/client/binpulsev1"
)

// Copy is a copy of tables.
type Copy struct {
	Ledger    *binpulse.Ledger
	Freshness *binpulse.Freshness
	// Applied is how many rows were applied.
	Applied int

	db    *sql.DB
	store binpulse.SQLStore
}

// Open connects to a database: root@tcp(127.0.0.1:3306)/
func Open(ctx context.Context, url string) (*Copy, error) {
	settings, err := mysql.ParseDSN(url)
	if err != nil {
		return nil, err
	}
	settings.Params = map[string]string{
		"time_zone": "'+00:00'", "sql_mode": "'NO_AUTO_VALUE_ON_ZERO'", "foreign_key_checks": "0",
	}
	server, err := sql.Open("mysql", settings.FormatDSN())
	if err != nil {
		return nil, err
	}
	defer server.Close()
	if _, err := server.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS binpulse_consumer"); err != nil {
		return nil, err
	}
	settings.DBName = "binpulse_consumer"
	db, err := sql.Open("mysql", settings.FormatDSN())
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, binpulse.LanesTable+" COLLATE utf8mb4_bin"); err != nil {
		return nil, err
	}
	store := binpulse.SQLStore{DB: db}
	ledger := binpulse.NewLedger(store, binpulse.DefaultWaits)
	return &Copy{db: db, store: store, Ledger: ledger, Freshness: new(binpulse.Freshness)}, nil
}

// Take takes a message; whether it is done with: else rows before it have not come.
func (c *Copy) Take(ctx context.Context, content binpulse.Content) (bool, error) {
	switch content := content.(type) {
	case *pb.Canary:
		c.Freshness.Observe(content)
		c.Ledger.Watermark(content, time.Now())
	case *pb.Suppressed:
		return true, c.Ledger.Suppressed(ctx, content, time.Now(), nil)
	case *pb.ChangeBatch:
		decision, err := c.Ledger.Take(ctx, content, time.Now(), func(ctx context.Context, change binpulse.Change) error {
			tx, err := c.db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			at := 0
			for row := range binpulse.Rows(content) {
				if at >= change.Skip && at < change.Skip+change.Take {
					if err := apply(ctx, tx, content.Table, row); err != nil {
						return err
					}
				}
				at++
			}
			if err := c.store.In(tx).Save(ctx, change); err != nil {
				return err
			}
			if err := tx.Commit(); err != nil {
				return err
			}
			c.Applied += change.Take
			return nil
		})
		return decision != binpulse.Wait, err
	}
	return true, nil
}
