package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"testing"

	_ "github.com/go-sql-driver/mysql"

	binpulse "binpulse/client"
	"binpulse/client/internal/history"
)

func TestNumbersInTheTransactionOfADatabase(t *testing.T) {
	address := os.Getenv("BINPULSE_TEST_MYSQL")
	if address == "" {
		t.Skip("no MySQL: set BINPULSE_TEST_MYSQL")
	}
	db, err := sql.Open("mysql", fmt.Sprintf("root@tcp(%s)/", address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	for _, statement := range []string{
		"DROP DATABASE IF EXISTS go", "CREATE DATABASE go", "USE go", binpulse.LanesTable + " COLLATE utf8mb4_bin",
		"CREATE TABLE copy (at INT AUTO_INCREMENT PRIMARY KEY, number INT)",
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	store := binpulse.SQLStore{DB: db}
	save := func(ctx context.Context, change binpulse.Change, numbers []uint64, broken error) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		for _, number := range numbers {
			if _, err := tx.Exec("INSERT INTO copy (number) VALUES (?)", number); err != nil {
				return err
			}
		}
		if err := store.In(tx).Save(ctx, change); err != nil {
			return err
		}
		if broken != nil {
			return broken
		}
		return tx.Commit()
	}
	applied := history.Check(t, store, save)
	var copied string
	if err := db.QueryRow("SELECT GROUP_CONCAT(number ORDER BY at SEPARATOR ' ') FROM copy").Scan(&copied); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(applied) != "["+copied+"]" {
		t.Fatal(applied, copied)
	}
}
