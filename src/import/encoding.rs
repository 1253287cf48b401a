//! Which characters a file holds, and whether it is a text at all.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::ImportError;

/// How the bytes of a file were read as characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextEncoding {
    /// UTF-8, with or without a byte order mark.
    Utf8,
    /// UTF-16, named by its byte order mark.
    Utf16,
    /// Windows-1252: what a file is taken for that is no valid UTF-8.
    Windows1252,
}

impl TextEncoding {
    /// The encoding's usual name.
    pub const fn name(self) -> &'static str {
        match self {
            TextEncoding::Utf8 => "UTF-8",
            TextEncoding::Utf16 => "UTF-16",
            TextEncoding::Windows1252 => "Windows-1252",
        }
    }
}

/// Files that are something else under the name of a text, by their first bytes.
const NOT_TEXT: [(&[u8], &str); 4] = [
    (
        b"PK",
        "an Excel workbook (.xlsx) or another zip archive, whatever its name says",
    ),
    (&[0xD0, 0xCF, 0x11, 0xE0], "an Excel workbook of the old kind (.xls)"),
    (b"%PDF", "a PDF"),
    (&[0x1F, 0x8B], "a gzip archive"),
];

/// Reads bytes as text: by a byte order mark, else as UTF-8 where it is valid, else as Windows-1252.
///
/// # Errors
///
/// [`ImportError::NotText`] names a workbook, a web page or another thing that is no CSV; [`ImportError::Encoding`] is a
/// UTF-16 file cut in the middle of a character; [`ImportError::Empty`] is a file without a character.
pub fn decode(bytes: &[u8]) -> Result<(String, TextEncoding), ImportError> {
    for (start, what) in NOT_TEXT {
        if bytes.starts_with(start) {
            return Err(ImportError::NotText { what });
        }
    }
    let (encoding, mark_bytes): (&Encoding, usize) = match Encoding::for_bom(bytes) {
        Some(found) => found,
        None if std::str::from_utf8(bytes).is_ok() => (UTF_8, 0),
        None => (WINDOWS_1252, 0),
    };
    let (text, malformed) = encoding.decode_without_bom_handling(&bytes[mark_bytes..]);
    let name = if encoding == UTF_16LE || encoding == UTF_16BE {
        TextEncoding::Utf16
    } else if encoding == UTF_8 {
        TextEncoding::Utf8
    } else {
        TextEncoding::Windows1252
    };
    if malformed {
        return Err(ImportError::Encoding { encoding: name.name() });
    }
    if text.trim().is_empty() {
        return Err(ImportError::Empty);
    }
    if text.contains('\0') {
        return Err(ImportError::NotText {
            what: "UTF-16 without a byte order mark, or no text at all",
        });
    }
    if let Some(what) = markup(&text) {
        return Err(ImportError::NotText { what });
    }
    Ok((text.into_owned(), name))
}

/// A web page or an XML file under the name of a spreadsheet.
fn markup(text: &str) -> Option<&'static str> {
    let start: String = text
        .trim_start()
        .chars()
        .take(200)
        .collect::<String>()
        .to_ascii_lowercase();
    let html = ["<html", "<!doctype html", "<table", "<head", "<body", "<meta", "<style"];
    if html.iter().any(|tag| start.starts_with(tag)) || start.contains("<html") {
        Some("a web page (HTML), whatever its name says")
    } else if start.starts_with("<?xml") || start.starts_with("<ctfile") {
        Some("an XML file")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_of_utf_8_is_taken_away() {
        let (text, encoding) = decode(b"\xEF\xBB\xBFUPN,Name").unwrap();
        assert_eq!((text.as_str(), encoding), ("UPN,Name", TextEncoding::Utf8));
    }

    #[test]
    fn utf_16_is_known_by_its_mark_in_both_orders() {
        let little: Vec<u8> = [0xFF, 0xFE]
            .into_iter()
            .chain("Zoë".encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        let big: Vec<u8> = [0xFE, 0xFF]
            .into_iter()
            .chain("Zoë".encode_utf16().flat_map(u16::to_be_bytes))
            .collect();
        for bytes in [little, big] {
            assert_eq!(decode(&bytes).unwrap(), ("Zoë".to_owned(), TextEncoding::Utf16));
        }
    }

    #[test]
    fn valid_utf_8_is_utf_8_and_the_rest_is_windows_1252() {
        assert_eq!(decode("Zoë".as_bytes()).unwrap().1, TextEncoding::Utf8);
        assert_eq!(
            decode(b"Zo\xEB \x80").unwrap(),
            ("Zoë €".to_owned(), TextEncoding::Windows1252)
        );
    }

    #[test]
    fn a_file_that_is_something_else_is_refused_by_its_name() {
        for (bytes, named) in [
            (&b"PK\x03\x04rest"[..], "Excel workbook (.xlsx)"),
            (b"\xD0\xCF\x11\xE0", "old kind"),
            (b"%PDF-1.7", "PDF"),
            (b"\r\n <HTML><body>", "HTML"),
            (b"<!DOCTYPE html>", "HTML"),
            (b"<table><tr>", "HTML"),
            (b"<?xml version=\"1.0\"?><html xmlns=\"x\">", "HTML"),
            (b"<?xml version=\"1.0\"?><CTfile>", "XML"),
            (b"U\0P\0N\0", "UTF-16 without"),
        ] {
            let message = decode(bytes).unwrap_err().to_string();
            assert!(message.contains(named), "{message}");
        }
        assert_eq!(decode(b" \r\n "), Err(ImportError::Empty));
        assert!(matches!(decode(b"\xFF\xFEU\0P"), Err(ImportError::Encoding { .. })));
    }
}
