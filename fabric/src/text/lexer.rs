//! Cuts text into tokens, and gives the parser its small vocabulary of questions.

use super::TextError;

/// A token's kind and contents.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// An identifier or a keyword.
    Word(&'a str),
    /// A number as it is written; which one it is depends on the context (`4x1` is a size, `0x1f` may be either).
    Number(&'a str),
    /// A quoted string without its quotes and escapes.
    Text(String),
    /// An operator or a bracket.
    Symbol(&'static str),
    /// The end of the text.
    End,
}

impl Token<'_> {
    fn describe(&self) -> String {
        match self {
            Token::Word(s) | Token::Number(s) | Token::Symbol(s) => format!("found `{s}`"),
            Token::Text(s) => format!("found the string {s:?}"),
            Token::End => "found the end of the text".into(),
        }
    }
}

/// Symbols, longer ones before their own beginnings.
const SYMBOLS: [&str; 23] = [
    "..=", "..", "->", "<-", "<=", "==", "!=", "<", "=", "{", "}", "[", "]", "(", ")", ",", ":", ";", "+", "-", "*",
    "$", "#",
];

/// A cursor over the tokens of a text.
pub(super) struct Cursor<'a> {
    source: &'a str,
    /// Byte after the current token.
    next: usize,
    /// First byte of the current token.
    start: usize,
    token: Token<'a>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(source: &'a str) -> Result<Self, TextError> {
        let mut cursor = Self { source, next: 0, start: 0, token: Token::End };
        cursor.advance()?;
        Ok(cursor)
    }

    pub(super) fn token(&self) -> &Token<'a> {
        &self.token
    }

    /// First byte of the current token, for [`Cursor::error_at`].
    pub(super) fn position(&self) -> usize {
        self.start
    }

    /// Goes to the next token and returns the current one.
    pub(super) fn advance(&mut self) -> Result<Token<'a>, TextError> {
        self.skip_blanks();
        self.start = self.next;
        let token = self.read_token()?;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = &self.source[self.next..];
            let trimmed = rest.trim_start();
            self.next += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.next += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn read_token(&mut self) -> Result<Token<'a>, TextError> {
        let rest = &self.source[self.next..];
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        if first.is_ascii_alphabetic() || first == '_' {
            let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            self.next += len;
            return Ok(Token::Word(&rest[..len]));
        }
        if first.is_ascii_digit() {
            let len = number_length(rest.as_bytes());
            self.next += len;
            return Ok(Token::Number(&rest[..len]));
        }
        if first == '"' {
            return self.read_string();
        }
        if first == '@' {
            self.next += 1;
            return Ok(Token::Symbol("@"));
        }
        let symbol = SYMBOLS.into_iter().find(|s| rest.starts_with(s));
        let symbol = symbol.ok_or_else(|| {
            self.error_at(
                self.start,
                format!("found the character {first:?}"),
                "a name, a number, a string or an operator",
            )
        })?;
        self.next += symbol.len();
        Ok(Token::Symbol(symbol))
    }

    fn read_string(&mut self) -> Result<Token<'a>, TextError> {
        let body = &self.source[self.next + 1..];
        let mut text = String::new();
        let mut chars = body.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.next += at + 2;
                    return Ok(Token::Text(text));
                }
                '\\' => {
                    let escape = chars.next().map(|(_, c)| c);
                    let plain = match escape {
                        Some('n') => Some('\n'),
                        Some('t') => Some('\t'),
                        Some('r') => Some('\r'),
                        Some(c @ ('"' | '\\')) => Some(c),
                        Some('u') => unicode_escape(&mut chars),
                        _ => None,
                    };
                    let at = self.next + 1 + at;
                    text.push(plain.ok_or_else(|| {
                        self.error_at(at, "found a broken escape".into(), r#"\n, \t, \r, \", \\ or \u{hex}"#)
                    })?);
                }
                c => text.push(c),
            }
        }
        Err(self.error_at(self.start, "found a string without an end".into(), "a closing quote"))
    }

    /// The text between the current `{` and the `}` that closes it, as it stands, and where it begins; for RON.
    pub(super) fn raw_block(&mut self) -> Result<(&'a str, usize), TextError> {
        if self.token != Token::Symbol("{") {
            return Err(self.error("`{`"));
        }
        let begin = self.next;
        let bytes = self.source.as_bytes();
        let (mut at, mut depth) = (begin, 1usize);
        while at < bytes.len() {
            match bytes[at] {
                b'"' => {
                    at += 1;
                    while at < bytes.len() && bytes[at] != b'"' {
                        at += if bytes[at] == b'\\' { 2 } else { 1 };
                    }
                }
                b'/' if bytes.get(at + 1) == Some(&b'/') => {
                    at += self.source[at..].find('\n').unwrap_or(bytes.len() - at);
                    continue;
                }
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.next = at + 1;
                let block = &self.source[begin..at];
                self.advance()?;
                return Ok((block, begin));
            }
            at += 1;
        }
        Err(self.error_at(self.start, "found a block without an end".into(), "a closing `}`"))
    }

    /// An error at the current token.
    pub(super) fn error(&self, expected: impl Into<String>) -> TextError {
        self.error_at(self.start, self.token.describe(), expected)
    }

    /// An error at a byte of the text.
    pub(super) fn error_at(&self, byte: usize, message: String, expected: impl Into<String>) -> TextError {
        let before = &self.source[..byte.min(self.source.len())];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        TextError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message,
            expected: expected.into(),
        }
    }

    pub(super) fn at_symbol(&self, symbol: &str) -> bool {
        matches!(self.token, Token::Symbol(s) if s == symbol)
    }

    pub(super) fn at_word(&self, word: &str) -> bool {
        matches!(self.token, Token::Word(w) if w == word)
    }

    /// Steps over the symbol if it is here.
    pub(super) fn eat(&mut self, symbol: &str) -> Result<bool, TextError> {
        let here = self.at_symbol(symbol);
        if here {
            self.advance()?;
        }
        Ok(here)
    }

    /// Steps over the keyword if it is here.
    pub(super) fn eat_word(&mut self, word: &str) -> Result<bool, TextError> {
        let here = self.at_word(word);
        if here {
            self.advance()?;
        }
        Ok(here)
    }

    pub(super) fn expect(&mut self, symbol: &str) -> Result<(), TextError> {
        if self.eat(symbol)? { Ok(()) } else { Err(self.error(format!("`{symbol}`"))) }
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), TextError> {
        if self.eat_word(word)? { Ok(()) } else { Err(self.error(format!("`{word}`"))) }
    }

    /// Any identifier.
    pub(super) fn word(&mut self, expected: &str) -> Result<&'a str, TextError> {
        let Token::Word(word) = self.token else { return Err(self.error(expected)) };
        self.advance()?;
        Ok(word)
    }

    /// An identifier or a string.
    pub(super) fn name(&mut self, expected: &str) -> Result<String, TextError> {
        match &self.token {
            Token::Word(_) | Token::Text(_) => match self.advance()? {
                Token::Text(text) => Ok(text),
                Token::Word(word) => Ok(word.to_owned()),
                _ => Err(self.error(expected)),
            },
            _ => Err(self.error(expected)),
        }
    }

    /// A string in quotes.
    pub(super) fn text(&mut self, expected: &str) -> Result<String, TextError> {
        if !matches!(self.token, Token::Text(_)) {
            return Err(self.error(expected));
        }
        self.name(expected)
    }
}

/// The characters of `\u{…}` after the `u`.
fn unicode_escape(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    if chars.next()?.1 != '{' {
        return None;
    }
    let mut code = 0u32;
    loop {
        match chars.next()?.1 {
            '}' => return char::from_u32(code),
            digit => code = code.checked_mul(16)?.checked_add(digit.to_digit(16)?)?,
        }
    }
}

/// Length of the number at the start of `bytes`: digits, letters and `_`, one point before a digit, a sign in an exponent.
fn number_length(bytes: &[u8]) -> usize {
    let hex = bytes.starts_with(b"0x");
    let mut at = 0;
    while at < bytes.len() {
        let digit_follows = bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        let part = match bytes[at] {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' => true,
            b'.' => digit_follows,
            b'+' | b'-' => at > 0 && !hex && matches!(bytes[at - 1], b'e' | b'E') && digit_follows,
            _ => false,
        };
        if !part {
            break;
        }
        at += 1;
    }
    at
}
