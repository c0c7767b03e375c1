//! The SQL that binpulse sends about its own tables, read and evaluated. Everything else of it is
//! answered by its text, in `answers.rs`.

use super::value::Value;

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Number(i128),
    Text(Vec<u8>),
    Mark(char),
}

/// What has a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    Literal(Value),
    Column(String),
    Variable(String),
    Call(String, Vec<Expression>),
    Pair(Box<Expression>, char, Box<Expression>),
}

/// A statement about a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Statement {
    Select {
        what: Vec<Expression>,
        from: Option<(String, String)>,
        wanted: Vec<Expression>,
        locks: bool,
    },
    Insert {
        into: (String, String),
        columns: Vec<String>,
        rows: Vec<Vec<Expression>>,
        else_set: Vec<(String, Expression)>,
    },
    Update {
        table: (String, String),
        set: Vec<(String, Expression)>,
        wanted: Vec<Expression>,
    },
    Delete {
        table: (String, String),
        wanted: Vec<Expression>,
    },
}

/// Reads a statement; `None`: it is none of these.
pub(crate) fn parse(sql: &str) -> Option<Statement> {
    let tokens = tokens(sql)?;
    let mut input = Input { tokens: &tokens };
    let statement = input.statement()?;
    input.tokens.is_empty().then_some(statement)
}

fn tokens(sql: &str) -> Option<Vec<Token>> {
    let bytes = sql.as_bytes();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let end = |from: usize, stays: fn(u8) -> bool| {
            bytes[from..].iter().position(|byte| !stays(*byte)).map_or(bytes.len(), |n| from + n)
        };
        match byte {
            b' ' | b'\n' => at += 1,
            b'`' => {
                let close = at + 1 + sql[at + 1..].find('`')?;
                tokens.push(Token::Word(sql[at + 1..close].to_owned()));
                at = close + 1;
            }
            b'\'' => {
                let (mut text, mut next) = (Vec::new(), at + 1);
                loop {
                    match (bytes.get(next)?, bytes.get(next + 1)) {
                        (b'\'', Some(b'\'')) => {
                            text.push(b'\'');
                            next += 2;
                        }
                        (b'\'', _) => break,
                        (other, _) => {
                            text.push(*other);
                            next += 1;
                        }
                    }
                }
                tokens.push(Token::Text(text));
                at = next + 1;
            }
            b'x' if bytes.get(at + 1) == Some(&b'\'') => {
                let close = at + 2 + sql[at + 2..].find('\'')?;
                let digits = &sql[at + 2..close];
                let pairs = (0..digits.len()).step_by(2);
                let text = pairs.map(|from| u8::from_str_radix(&digits[from..from + 2], 16).ok());
                tokens.push(Token::Text(text.collect::<Option<_>>()?));
                at = close + 1;
            }
            b'0'..=b'9' => {
                let close = end(at, |byte| byte.is_ascii_digit() || byte == b'.');
                let whole = sql[at..close].split('.').next()?;
                tokens.push(Token::Number(whole.parse().ok()?));
                at = close;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'@' => {
                let close =
                    end(at, |byte| byte.is_ascii_alphanumeric() || [b'_', b'@'].contains(&byte));
                // A variable of the server has its dots in it, a column's table before it not.
                let mut close = close;
                while sql[at..].starts_with("@@") && bytes.get(close) == Some(&b'.') {
                    close = end(close + 1, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
                }
                let word = &sql[at..close];
                if word != "_utf8mb4" {
                    tokens.push(Token::Word(word.to_owned()));
                }
                at = close;
            }
            other => {
                tokens.push(Token::Mark(char::from(*other)));
                at += 1;
            }
        }
    }
    Some(tokens)
}

struct Input<'a> {
    tokens: &'a [Token],
}

impl Input<'_> {
    fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first.clone())
    }

    /// Whether these words come next; then they are taken.
    fn has(&mut self, words: &str) -> bool {
        let before = self.tokens;
        for wanted in words.split(' ') {
            let is_it = match self.next() {
                Some(Token::Word(word)) => word.eq_ignore_ascii_case(wanted),
                Some(Token::Mark(mark)) => wanted.len() == 1 && wanted.starts_with(mark),
                _ => false,
            };
            if !is_it {
                self.tokens = before;
                return false;
            }
        }
        true
    }

    fn must(&mut self, words: &str) -> Option<()> {
        self.has(words).then_some(())
    }

    fn word(&mut self) -> Option<String> {
        match self.next()? {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    fn table(&mut self) -> Option<(String, String)> {
        let schema = self.word()?;
        self.must(".")?;
        Some((schema, self.word()?))
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut all = vec![item(self)?];
        while self.has(",") {
            all.push(item(self)?);
        }
        Some(all)
    }

    fn wanted(&mut self) -> Option<Vec<Expression>> {
        let mut wanted = Vec::new();
        if self.has("WHERE") {
            wanted.push(self.expression()?);
            while self.has("AND") {
                wanted.push(self.expression()?);
            }
        }
        Some(wanted)
    }

    fn assignment(&mut self) -> Option<(String, Expression)> {
        let column = self.word()?;
        self.must("=")?;
        Some((column, self.sum()?))
    }

    fn statement(&mut self) -> Option<Statement> {
        if self.has("SELECT") {
            let what = self.list(Self::expression)?;
            let from = if self.has("FROM") { Some(self.table()?) } else { None };
            let wanted = self.wanted()?;
            if self.has("ORDER BY") {
                self.word()?;
            }
            if self.has("LIMIT") {
                self.next()?;
            }
            let locks = self.has("FOR UPDATE");
            return Some(Statement::Select { what, from, wanted, locks });
        }
        if self.has("INSERT INTO") {
            let into = self.table()?;
            self.must("(")?;
            let columns = self.list(Self::word)?;
            self.must(")")?;
            self.must("VALUES")?;
            let rows = self.list(|input| {
                input.must("(")?;
                let row = input.list(Self::expression)?;
                input.must(")")?;
                Some(row)
            })?;
            let else_set = if self.has("ON DUPLICATE KEY UPDATE") {
                self.list(Self::assignment)?
            } else {
                Vec::new()
            };
            return Some(Statement::Insert { into, columns, rows, else_set });
        }
        if self.has("UPDATE") {
            let table = self.table()?;
            self.must("SET")?;
            let set = self.list(Self::assignment)?;
            return Some(Statement::Update { table, set, wanted: self.wanted()? });
        }
        self.must("DELETE FROM")?;
        Some(Statement::Delete { table: self.table()?, wanted: self.wanted()? })
    }

    /// A sum, or two of them compared.
    fn expression(&mut self) -> Option<Expression> {
        let left = self.sum()?;
        for mark in ['=', '<', '>'] {
            if self.has(&mark.to_string()) {
                return Some(Expression::Pair(Box::new(left), mark, Box::new(self.sum()?)));
            }
        }
        Some(left)
    }

    fn sum(&mut self) -> Option<Expression> {
        let mut left = self.value()?;
        loop {
            let found = ['+', '*'].into_iter().find(|mark| self.has(&mark.to_string()));
            let Some(mark) = found else { return Some(left) };
            left = Expression::Pair(Box::new(left), mark, Box::new(self.value()?));
        }
    }

    fn value(&mut self) -> Option<Expression> {
        if self.has("-") {
            let Token::Number(number) = self.next()? else { return None };
            return Some(Expression::Literal(Value::Int(-number)));
        }
        Some(match self.next()? {
            Token::Number(number) => Expression::Literal(Value::Int(number)),
            Token::Text(text) => Expression::Literal(Value::Bytes(text)),
            Token::Word(word) if word.starts_with("@@") => Expression::Variable(word),
            Token::Word(word) if word == "NULL" => Expression::Literal(Value::Null),
            Token::Word(word) => {
                if !self.has("(") {
                    return Some(Expression::Column(word));
                }
                let arguments = if self.has(")") { Vec::new() } else { self.arguments()? };
                Expression::Call(word.to_ascii_uppercase(), arguments)
            }
            Token::Mark('*') => Expression::Literal(Value::Int(1)),
            Token::Mark(_) => return None,
        })
    }

    fn arguments(&mut self) -> Option<Vec<Expression>> {
        let arguments = self.list(Self::expression)?;
        self.must(")")?;
        Some(arguments)
    }
}

/// What an expression may refer to.
pub(crate) trait Scope {
    fn column(&self, name: &str) -> Option<Value>;
    /// Of the row that was to be inserted.
    fn inserted(&self, name: &str) -> Option<Value>;
    fn variable(&self, name: &str) -> Option<Value>;
    fn call(&self, name: &str, arguments: &[Value]) -> Option<Value>;
    fn now_us(&self) -> i64;
}

/// The value of an expression; `None`: it refers to what is not known.
pub(crate) fn evaluate(expression: &Expression, scope: &dyn Scope) -> Option<Value> {
    match expression {
        Expression::Literal(value) => Some(value.clone()),
        Expression::Column(name) => scope.column(name),
        Expression::Variable(name) => scope.variable(name),
        Expression::Pair(left, mark, right) => {
            let (left, right) = (evaluate(left, scope)?, evaluate(right, scope)?);
            let truth = |is_so: bool| Value::Int(i128::from(is_so));
            Some(match mark {
                '+' => Value::Int(left.int() + right.int()),
                // Of seconds with their fraction, in microseconds.
                '*' => match left {
                    Value::Time(us) => Value::Int(i128::from(us)),
                    other => Value::Int(other.int() * right.int()),
                },
                '=' => truth(left == right),
                '<' => truth(left < right),
                _ => truth(left > right),
            })
        }
        Expression::Call(name, arguments) => {
            if name == "VALUES" {
                let Some(Expression::Column(column)) = arguments.first() else { return None };
                return scope.inserted(column);
            }
            let unit = matches!(name.as_str(), "TIMESTAMPDIFF");
            let arguments: Option<Vec<_>> =
                arguments.iter().skip(usize::from(unit)).map(|it| evaluate(it, scope)).collect();
            let arguments = arguments?;
            match (name.as_str(), arguments.as_slice()) {
                ("GREATEST", [left, right]) => Some(left.clone().max(right.clone())),
                ("IF", [condition, yes, no]) => {
                    Some(if condition.int() == 0 { no.clone() } else { yes.clone() })
                }
                ("UTC_TIMESTAMP" | "NOW", _) => Some(Value::Time(scope.now_us())),
                ("UNIX_TIMESTAMP", [time]) => Some(time.clone()),
                ("TIMESTAMPDIFF", [Value::Time(from), Value::Time(to)]) => {
                    Some(Value::Int(i128::from(to - from)))
                }
                ("DATE_FORMAT", [Value::Time(us), _]) => {
                    let time = chrono::DateTime::from_timestamp_micros(*us)?;
                    Some(Value::text(&time.format("%Y-%m-%dT%H:%M:%SZ").to_string()))
                }
                (_, arguments) => scope.call(name, arguments),
            }
        }
    }
}
