//! The guard against its corpus, and what a corpus cannot say.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;

/// A line of the corpus.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) verdict: &'static str,
    pub(crate) url: String,
    pub(crate) resolves: Option<&'static str>,
}

impl Line {
    /// What a refusal looks like to a script: code and category.
    pub(crate) fn expected(&self) -> (String, Option<&'static str>) {
        match self.verdict {
            "invalid_url" | "scheme_not_allowed" | "credentials_in_url" | "port_not_allowed"
            | "name_not_found" => (format!("http.{}", self.verdict), None),
            category => ("http.address_refused".to_owned(), Some(category)),
        }
    }
}

/// The corpus.
pub(crate) fn corpus() -> Vec<Line> {
    let lines = include_str!("corpus.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut columns = line.split('|').map(str::trim);
            let verdict = columns.next().unwrap();
            let url = unescaped(columns.next().unwrap());
            Line { verdict, url, resolves: columns.next() }
        })
        .collect()
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out += before;
        rest = after;
        let short = [('t', '\t'), ('n', '\n'), ('r', '\r'), ('0', '\0'), ('s', ' ')];
        if let Some((_, c)) = short.into_iter().find(|(letter, _)| rest.starts_with(*letter)) {
            out.push(c);
            rest = &rest[1..];
        } else if let Some((code, after)) = rest.strip_prefix("u{").and_then(|code| code.split_once('}')) {
            out.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
            rest = after;
        } else {
            out.push('\\');
        }
    }
    out + rest
}

/// Answers what the corpus says, by name.
#[derive(Debug)]
pub(crate) struct Scripted(Mutex<HashMap<String, Vec<Vec<IpAddr>>>>);

impl Scripted {
    /// A resolver that gives each name its answers in turn; the last one stays.
    pub(crate) fn new(names: impl IntoIterator<Item = (&'static str, Vec<Vec<IpAddr>>)>) -> Self {
        Scripted(Mutex::new(names.into_iter().map(|(name, answers)| (name.to_owned(), answers)).collect()))
    }

    pub(crate) fn of(target: &str, line: &Line) -> Self {
        let addresses = match line.resolves {
            None | Some("none") => return Scripted(Mutex::default()),
            Some(addresses) => addresses.split(',').map(str::trim).filter(|address| !address.is_empty()),
        };
        let answer = addresses.map(|address| address.parse().unwrap()).collect();
        Scripted(Mutex::new(HashMap::from([(target.to_owned(), vec![answer])])))
    }
}

#[async_trait]
impl Resolver for Scripted {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().unwrap();
        let answers = names.get_mut(host).ok_or(io::ErrorKind::NotFound)?;
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

#[tokio::test]
async fn every_url_of_the_corpus_gets_its_verdict() {
    let guard = Guard::new();
    let corpus = corpus();
    assert!(corpus.len() >= 150, "{} lines", corpus.len());
    let mut wrong = Vec::new();
    for line in corpus {
        let verdict = match guard.check_url(&line.url) {
            Err(error) => Err(error),
            Ok(target) if line.resolves.is_some() => {
                guard.resolve(target.host(), &Scripted::of(target.host(), &line)).await.map(drop)
            }
            Ok(_) => Ok(()),
        };
        let told = verdict.map_err(|error| {
            let error = crate::Error::from(error);
            let category = error.context().find(|(name, _)| *name == "category");
            (error.code().to_owned(), category.map(|(_, category)| category.to_owned()))
        });
        let expected = match line.verdict {
            "ok" => Ok(()),
            _ => Err({
                let (code, category) = line.expected();
                (code, category.map(str::to_owned))
            }),
        };
        if told != expected {
            wrong.push(format!("{:?}: {told:?}, not {expected:?}", line.url));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_refusal_never_tells_the_address() {
    let guard = Guard::new();
    let names = Scripted::new([("inside.example", vec![vec!["10.11.12.13".parse().unwrap()]])]);
    let error = crate::Error::from(guard.resolve("inside.example", &names).await.unwrap_err());
    let all = format!("{error} {error:?}");
    assert!(!all.contains("10.11.12.13"), "{all}");
    assert!(all.contains("private"), "{all}");
}

#[tokio::test]
async fn a_name_that_is_rebound_is_refused_the_second_time() {
    let answers = vec![vec!["93.184.215.14".parse().unwrap()], vec!["127.0.0.1".parse().unwrap()]];
    let names = Scripted::new([("rebound.example", answers)]);
    let guard = Guard::new();
    assert_eq!(guard.resolve("rebound.example", &names).await.unwrap().len(), 1);
    let refused = guard.resolve("rebound.example", &names).await.unwrap_err();
    assert_eq!(refused, HttpError::AddressRefused(Category::Loopback.into()));
}

#[tokio::test]
async fn of_several_addresses_the_refused_ones_are_left_out() {
    let public: IpAddr = "93.184.215.14".parse().unwrap();
    let names = Scripted::new([(
        "a.example",
        vec![vec!["10.0.0.1".parse().unwrap(), public, "::1".parse().unwrap()]],
    )]);
    assert_eq!(Guard::new().resolve("a.example", &names).await.unwrap(), [public]);
}

#[tokio::test]
async fn what_is_private_can_be_opened_and_the_rest_cannot() {
    let guard = Guard::new().allow_private(true);
    for url in [
        "http://127.0.0.1:22/",
        "http://localhost:81/",
        "http://10.0.0.1/",
        "http://[::ffff:192.168.0.1]/",
        "http://[fd00::1]/",
        "http://[fe80::1]/",
        "http://100.64.0.1/",
    ] {
        assert!(guard.check_url(url).is_ok(), "{url}");
    }
    for url in [
        "http://169.254.169.254/",
        "http://0xA9FEA9FE/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fd00:ec2::254]/",
        "http://metadata.google.internal/",
        "http://100.100.100.200/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
    ] {
        assert_eq!(guard.check_url(url).unwrap_err().code(), "http.address_refused", "{url}");
    }
    assert_eq!(guard.check_url("http://10.0.0.1:0/").unwrap_err(), HttpError::PortNotAllowed(0));
    let names = Scripted::new([("m.example", vec![vec!["169.254.169.254".parse().unwrap()]])]);
    assert!(guard.resolve("m.example", &names).await.is_err());
}

#[tokio::test]
async fn an_exception_is_one_address_at_one_port_and_no_name() {
    let guard = Guard::new().allow_address("127.0.0.1:81".parse().unwrap());
    assert!(guard.check_url("http://127.0.0.1:81/").is_ok());
    assert!(guard.check_url("http://0x7f.1:81/").is_ok());
    for url in ["http://127.0.0.1/", "http://127.0.0.1:82/", "http://127.0.0.2:81/", "http://localhost:81/"] {
        assert_eq!(guard.check_url(url).unwrap_err().code(), "http.address_refused", "{url}");
    }
    let names = Scripted::new([("a.example", vec![vec!["127.0.0.1".parse().unwrap()]])]);
    assert!(guard.resolve("a.example", &names).await.is_err());
    assert!(guard.check_peer("127.0.0.1:81".parse().unwrap()).is_ok());
    assert!(guard.check_peer("127.0.0.1:80".parse().unwrap()).is_err());
}

#[test]
fn where_a_redirect_leads_is_read_as_strictly() {
    let guard = Guard::new();
    let base = guard.check_url("https://example.com/a/b?c").unwrap();
    for (location, url) in [
        ("d", "https://example.com/a/d"),
        ("/d?e#f", "https://example.com/d?e"),
        ("?x=a:b", "https://example.com/a/b?x=a:b"),
        ("../x", "https://example.com/x"),
        ("/a:b", "https://example.com/a:b"),
        ("//other.example/x", "https://other.example/x"),
        ("http://other.example", "http://other.example/"),
        ("", "https://example.com/a/b?c"),
    ] {
        assert_eq!(guard.check_location(&base, location).unwrap().as_str(), url, "{location}");
    }
    for (location, code) in [
        ("//127.0.0.1/", "http.address_refused"),
        ("//0x7f.1/", "http.address_refused"),
        ("http://[::1]/", "http.address_refused"),
        ("http:/127.0.0.1", "http.invalid_url"),
        ("https:127.0.0.1", "http.invalid_url"),
        ("/\\127.0.0.1/", "http.invalid_url"),
        ("\\\\127.0.0.1/", "http.invalid_url"),
        ("///127.0.0.1/", "http.invalid_url"),
        ("/\t/127.0.0.1/", "http.invalid_url"),
        ("//a@127.0.0.1/", "http.credentials_in_url"),
        ("file:///etc/passwd", "http.scheme_not_allowed"),
        ("javascript:x", "http.scheme_not_allowed"),
        ("//example.com:22/", "http.port_not_allowed"),
    ] {
        let told = guard.check_location(&base, location).unwrap_err();
        assert_eq!(told.code(), code, "{location}");
    }
}

proptest! {
    /// Whatever the text, a URL that passes has a public address or a name, and says so however it is spelled.
    #[test]
    fn a_literal_that_passes_is_public(octets in any::<[u8; 4]>(), spelling in 0..5_u8) {
        let [a, b, c, d] = octets;
        let number = u32::from_be_bytes(octets);
        let url = match spelling {
            0 => format!("http://{number}/"),
            1 => format!("http://{number:#x}/"),
            2 => format!("http://{a:#x}.{b:#o}.{c}.{d}/", ).replace("0o", "0"),
            3 => format!("http://[::ffff:{a}.{b}.{c}.{d}]/"),
            _ => format!("http://{a}.{}/", number & 0xff_ffff),
        };
        let expected = check_address(Ipv4Addr::from(octets).into()).is_ok();
        prop_assert_eq!(Guard::new().check_url(&url).is_ok(), expected, "{}", url);
    }

    #[test]
    fn an_address_hidden_in_another_is_refused_with_it(octets in any::<[u8; 4]>()) {
        let address = Ipv4Addr::from(octets);
        let plain = check_address(address.into());
        let (high, low) = (u32::from(address) >> 16, u32::from(address) & 0xffff);
        for text in [
            format!("::ffff:{address}"),
            format!("64:ff9b::{address}"),
            format!("2002:{high:x}:{low:x}::1"),
            format!("2606:4700::5efe:{high:x}:{low:x}"),
        ] {
            let hidden = check_address(text.parse::<Ipv6Addr>().unwrap().into());
            prop_assert_eq!(hidden.map_err(|refused| refused.category), plain.map_err(|refused| refused.category), "{}", text);
        }
    }

    #[test]
    fn no_text_is_too_strange(text in ".{0,60}") {
        let _ = Guard::new().check_url(&text);
        if let Ok(target) = Guard::new().check_url(&format!("http://{text}")) {
            prop_assert!(!target.host().is_empty());
            let again = Guard::new().check_url(target.as_str());
            prop_assert_eq!(again.ok(), Some(target), "what passed passes again, as it is");
        }
    }
}
