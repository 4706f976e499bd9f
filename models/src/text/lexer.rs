//! Cuts a line of text into tokens.

use super::TextError;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A keyword, a number or the name of an attribute.
    Word(&'a str),
    /// The index behind a `%`.
    Node(&'a str),
    /// A quoted string without its quotes and escapes.
    Text(String),
    /// Punctuation.
    Symbol(char),
    /// The end of the line.
    End,
}

impl Token<'_> {
    fn describe(&self) -> String {
        match self {
            Token::Word(word) => format!("found `{}`", shortened(word)),
            Token::Node(index) => format!("found `%{}`", shortened(index)),
            Token::Text(text) => format!("found the string \"{}\"", shortened(text)),
            Token::Symbol(symbol) => format!("found `{symbol}`"),
            Token::End => "the line ends".into(),
        }
    }
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 40;
    let start: String = text.chars().take(LONGEST).collect();
    if start.len() < text.len() { format!("{start}…") } else { start }
}

/// A cursor over the tokens of a line.
pub(super) struct Cursor<'a> {
    line: &'a str,
    /// Number of the line, from 1.
    number: usize,
    /// First byte of the current token.
    start: usize,
    /// Byte after it.
    next: usize,
    token: Token<'a>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(line: &'a str, number: usize) -> Result<Self, TextError> {
        let mut cursor = Self { line, number, start: 0, next: 0, token: Token::End };
        cursor.advance()?;
        Ok(cursor)
    }

    pub(super) fn token(&self) -> &Token<'a> {
        &self.token
    }

    /// Goes to the next token and returns the current one.
    pub(super) fn advance(&mut self) -> Result<Token<'a>, TextError> {
        let rest = &self.line[self.next..];
        self.start = self.next + (rest.len() - rest.trim_start().len());
        self.next = self.start;
        let token = self.read()?;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn read(&mut self) -> Result<Token<'a>, TextError> {
        let rest = &self.line[self.start..];
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+');
        match rest.chars().next() {
            None | Some('#') => Ok(Token::End),
            Some('"') => self.read_text(),
            Some('%') => {
                let index = word(&rest[1..], |c| c.is_ascii_digit());
                self.next = self.start + 1 + index.len();
                Ok(Token::Node(index))
            }
            Some(c) if is_word(c) => {
                let word = word(rest, is_word);
                self.next = self.start + word.len();
                Ok(Token::Word(word))
            }
            Some(c) => {
                self.next = self.start + c.len_utf8();
                Ok(Token::Symbol(c))
            }
        }
    }

    fn read_text(&mut self) -> Result<Token<'a>, TextError> {
        let mut text = String::new();
        let mut chars = self.line[self.start..].char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.next = self.start + at + 1;
                    return Ok(Token::Text(text));
                }
                '\\' => {
                    let escaped = escape(&mut chars.by_ref().map(|(_, c)| c));
                    let problem = "the escape is none of `\\\"`, `\\\\`, `\\n`, `\\r`, `\\t`, `\\u{..}`";
                    text.push(escaped.ok_or_else(|| self.fault_at(self.start + at, problem, "correct it"))?);
                }
                c => text.push(c),
            }
        }
        Err(self.fault_at(self.start, "the string has no end on its line", "close it with `\"`"))
    }

    /// An error at the current token.
    pub(super) fn fault(&self, problem: impl Into<String>, remedy: impl Into<String>) -> TextError {
        self.fault_at(self.start, problem, remedy)
    }

    /// An error because the current token is not the right one.
    pub(super) fn expected(&self, what: &str) -> TextError {
        self.fault(self.token.describe(), format!("expected {what}"))
    }

    fn fault_at(&self, byte: usize, problem: impl Into<String>, remedy: impl Into<String>) -> TextError {
        let column = self.line[..byte].chars().count() + 1;
        TextError { line: self.number, column, problem: problem.into(), remedy: remedy.into() }
    }

    /// Goes over a symbol if it is there.
    pub(super) fn eat(&mut self, symbol: char) -> Result<bool, TextError> {
        let found = self.token == Token::Symbol(symbol);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// Goes over a symbol that must be there.
    pub(super) fn symbol(&mut self, symbol: char) -> Result<(), TextError> {
        if self.eat(symbol)? { Ok(()) } else { Err(self.expected(&format!("`{symbol}`"))) }
    }

    /// A word; `what` says which one is meant.
    pub(super) fn word(&mut self, what: &str) -> Result<&'a str, TextError> {
        match self.token {
            Token::Word(word) => {
                self.advance()?;
                Ok(word)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// A string.
    pub(super) fn text(&mut self, what: &str) -> Result<String, TextError> {
        match self.token {
            Token::Text(_) => match self.advance()? {
                Token::Text(text) => Ok(text),
                _ => Err(self.expected(what)),
            },
            _ => Err(self.expected(what)),
        }
    }

    /// The line must end here.
    pub(super) fn end(&self) -> Result<(), TextError> {
        if self.token == Token::End { Ok(()) } else { Err(self.expected("the end of the line")) }
    }
}

fn word(text: &str, belongs: impl Fn(char) -> bool) -> &str {
    text.find(|c| !belongs(c)).map_or(text, |end| &text[..end])
}

/// The character of an escape, from behind the backslash.
fn escape(chars: &mut impl Iterator<Item = char>) -> Option<char> {
    match chars.next()? {
        c @ ('"' | '\\') => Some(c),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'u' => {
            (chars.next()? == '{').then_some(())?;
            let digits: String = chars.take_while(|&c| c != '}').take(8).collect();
            u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
        }
        _ => None,
    }
}
