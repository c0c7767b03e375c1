package tables

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	binpulse "binpulse/client"
	pb "binpulse/client/binpulsev1"
)

// apply applies one row.
func apply(ctx context.Context, tx *sql.Tx, table *pb.TableSchema, row binpulse.Row) error {
	name := quoted(table.Database) + "." + quoted(table.Table)
	before, err := key(table, row.Before)
	if err != nil {
		return err
	}
	after, err := key(table, row.After)
	if err != nil {
		return err
	}
	if row.Before != nil && (row.After == nil || fmt.Sprint(before) != fmt.Sprint(after)) {
		var where []string
		for _, ordinal := range table.PrimaryKey {
			where = append(where, quoted(table.Columns[ordinal].Name)+" = ?")
		}
		sql := fmt.Sprintf("DELETE FROM %s WHERE %s", name, strings.Join(where, " AND "))
		if _, err := tx.ExecContext(ctx, sql, before...); err != nil {
			return err
		}
	}
	if row.After == nil {
		return nil
	}
	var columns, updates []string
	var values []any
	for _, column := range table.Columns {
		if _, isAbsent := row.After[column.Name].(binpulse.Absent); isAbsent {
			continue
		}
		value, err := bound(row.After[column.Name])
		if err != nil {
			return err
		}
		columns = append(columns, quoted(column.Name))
		updates = append(updates, fmt.Sprintf("%s = VALUES(%[1]s)", quoted(column.Name)))
		values = append(values, value)
	}
	sql := fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s) ON DUPLICATE KEY UPDATE %s", name, strings.Join(columns, ", "),
		strings.Join(slices.Repeat([]string{"?"}, len(columns)), ", "), strings.Join(updates, ", "))
	_, err = tx.ExecContext(ctx, sql, values...)
	return err
}

func quoted(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func key(table *pb.TableSchema, image binpulse.Image) ([]any, error) {
	var values []any
	for _, ordinal := range table.PrimaryKey {
		value, err := bound(image[table.Columns[ordinal].Name])
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// bound is a value as MySQL takes it.
func bound(value binpulse.Value) (any, error) {
	switch value := value.(type) {
	case binpulse.Omitted, binpulse.JSONDiff, binpulse.MalformedText, binpulse.Absent:
		return nil, errors.New("a value that this copy can't have: read the row from the source")
	case binpulse.Decimal:
		return string(value), nil
	case binpulse.Date:
		return string(value), nil
	case binpulse.Time:
		return string(value), nil
	case binpulse.Datetime:
		return string(value), nil
	case binpulse.Timestamp:
		return string(value), nil
	case binpulse.JSON:
		return string(value), nil
	case binpulse.EnumIndex:
		return uint64(value), nil
	case binpulse.SetMask:
		return uint64(value), nil
	case binpulse.Geometry:
		return []byte(value), nil
	case []float32:
		var encoded bytes.Buffer
		err := binary.Write(&encoded, binary.LittleEndian, value)
		return encoded.Bytes(), err
	default:
		return value, nil
	}
}
