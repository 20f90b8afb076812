//! Which addresses no request may go to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of address was refused. Errors name this and never the address: what a name resolves to inside the host's
/// network is none of a script's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Category {
    /// `0.0.0.0/8`, `::`: this host, to many systems.
    Unspecified,
    /// `127.0.0.0/8`, `::1`, and the names `localhost` and `*.localhost`.
    Loopback,
    /// `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16`, and the NAT64 prefix for local use.
    Private,
    /// `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// Where clouds hand credentials to their machines. Never opened.
    CloudMetadata,
    /// `100.64.0.0/10`: a provider's inside.
    CarrierGradeNat,
    /// `fc00::/7`.
    UniqueLocal,
    /// `fec0::/10`, deprecated.
    SiteLocal,
    /// `224.0.0.0/4`, `ff00::/8`.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
    /// Set aside for examples.
    Documentation,
    /// Set aside for measuring devices.
    Benchmarking,
    /// Everything else that is not given out to hosts of the internet.
    Reserved,
}

impl Category {
    /// The name in errors, such as `"carrier-grade NAT"`.
    pub fn name(self) -> &'static str {
        match self {
            Category::Unspecified => "unspecified",
            Category::Loopback => "loopback",
            Category::Private => "private",
            Category::LinkLocal => "link-local",
            Category::CloudMetadata => "cloud metadata",
            Category::CarrierGradeNat => "carrier-grade NAT",
            Category::UniqueLocal => "unique-local",
            Category::SiteLocal => "site-local",
            Category::Multicast => "multicast",
            Category::Broadcast => "broadcast",
            Category::Documentation => "documentation",
            Category::Benchmarking => "benchmarking",
            Category::Reserved => "reserved",
        }
    }

    /// Whether it is what a developer has at home, which [`Guard::allow_private`](super::Guard::allow_private) opens.
    pub(super) fn is_private(self) -> bool {
        matches!(
            self,
            Category::Loopback
                | Category::Private
                | Category::LinkLocal
                | Category::CarrierGradeNat
                | Category::UniqueLocal
                | Category::SiteLocal
        )
    }
}

/// How an IPv6 address carries an IPv4 one, which it may well end up at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Embedding {
    /// `::ffff:a.b.c.d`.
    Mapped,
    /// `::a.b.c.d`, deprecated.
    Compatible,
    /// `::ffff:0:a.b.c.d`.
    Translated,
    /// `2002:…`.
    SixToFour,
    /// `64:ff9b::a.b.c.d`.
    Nat64,
    /// `2001:0:…`, as server or as client.
    Teredo,
    /// An interface id `…:5efe:a.b.c.d`.
    Isatap,
}

impl Embedding {
    fn name(self) -> &'static str {
        match self {
            Embedding::Mapped => "IPv4-mapped",
            Embedding::Compatible => "IPv4-compatible",
            Embedding::Translated => "IPv4-translated",
            Embedding::SixToFour => "6to4",
            Embedding::Nat64 => "NAT64",
            Embedding::Teredo => "Teredo",
            Embedding::Isatap => "ISATAP",
        }
    }
}

/// Why an address was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Refused {
    /// What kind of address it is.
    pub category: Category,
    /// In which form of IPv6 address it was hidden, if it was.
    pub inside: Option<Embedding>,
}

impl From<Category> for Refused {
    fn from(category: Category) -> Self {
        Refused { category, inside: None }
    }
}

/// The category, and what it was hidden in: `loopback inside an IPv4-mapped address`.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.category.name())?;
        match self.inside {
            None => Ok(()),
            Some(Embedding::SixToFour | Embedding::Nat64 | Embedding::Teredo) => {
                write!(f, " inside a {} address", self.inside.map_or("", Embedding::name))
            }
            Some(embedding) => write!(f, " inside an {} address", embedding.name()),
        }
    }
}

/// Refuses every address that is not one of the public internet, without any exception.
///
/// ```
/// use picloud_core::http::ssrf::{Category, check_address};
///
/// assert!(check_address("93.184.215.14".parse().unwrap()).is_ok());
/// let refused = check_address("::ffff:127.0.0.1".parse().unwrap()).unwrap_err();
/// assert_eq!(refused.category, Category::Loopback);
/// assert_eq!(refused.to_string(), "loopback inside an IPv4-mapped address");
/// ```
///
/// # Errors
/// [`Refused`], with the kind of address.
pub fn check_address(address: IpAddr) -> Result<(), Refused> {
    let refused = match address {
        IpAddr::V4(address) => of_v4(address).map(Refused::from),
        IpAddr::V6(address) => of_v6(address),
    };
    refused.map_or(Ok(()), Err)
}

/// Addresses at which clouds answer their machines. Some are in ranges that are public.
const METADATA_V4: [Ipv4Addr; 6] = [
    // Amazon, Google, Microsoft, DigitalOcean, Oracle and more.
    Ipv4Addr::new(169, 254, 169, 254),
    // Amazon, for containers.
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    // Alibaba.
    Ipv4Addr::new(100, 100, 100, 200),
    // Microsoft.
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle, the older kind.
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The same in IPv6: Amazon, Amazon for containers, Google.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

fn of_v4(address: Ipv4Addr) -> Option<Category> {
    if METADATA_V4.contains(&address) {
        return Some(Category::CloudMetadata);
    }
    Some(match address.octets() {
        [0, ..] => Category::Unspecified,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Category::Private,
        [100, 64..=127, ..] => Category::CarrierGradeNat,
        [127, ..] => Category::Loopback,
        [169, 254, ..] => Category::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Category::Documentation,
        [198, 18..=19, ..] => Category::Benchmarking,
        // Assignments of the protocol itself, and the relays of 6to4, which are gone.
        [192, 0, 0, _] | [192, 88, 99, _] => Category::Reserved,
        [224..=239, ..] => Category::Multicast,
        [255, 255, 255, 255] => Category::Broadcast,
        [240..=255, ..] => Category::Reserved,
        _ => return None,
    })
}

fn of_v6(address: Ipv6Addr) -> Option<Refused> {
    if METADATA_V6.contains(&address) {
        return Some(Category::CloudMetadata.into());
    }
    let [.., a, b, c, d] = address.octets();
    let last = Ipv4Addr::new(a, b, c, d);
    let hidden = |address: Ipv4Addr, inside: Embedding| {
        of_v4(address).map(|category| Refused { category, inside: Some(inside) })
    };
    let pair = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    let category = match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Category::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Category::Loopback,
        // Good for what it carries: with the first the system connects by IPv4 itself, the others are translated.
        [0, 0, 0, 0, 0, 0xffff, ..] => return hidden(last, Embedding::Mapped),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => return hidden(last, Embedding::Nat64),
        [0x2002, high, low, ..] => return hidden(pair(high, low), Embedding::SixToFour),
        // Never good, but better named by what they carry.
        [0, 0, 0, 0, 0, 0, ..] => return named(hidden(last, Embedding::Compatible)),
        [0, 0, 0, 0, 0xffff, 0, ..] => return named(hidden(last, Embedding::Translated)),
        [0x2001, 0, high, low, .., x, y] => {
            let (server, client) = (pair(high, low), pair(!x, !y));
            return named(hidden(server, Embedding::Teredo).or(hidden(client, Embedding::Teredo)));
        }
        [0x64, 0xff9b, 1, ..] => Category::Private,
        [0xfc00..=0xfdff, ..] => Category::UniqueLocal,
        [0xfe80..=0xfebf, ..] => Category::LinkLocal,
        [0xfec0..=0xfeff, ..] => Category::SiteLocal,
        [0xff00..=0xffff, ..] => Category::Multicast,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Category::Documentation,
        [0x2001, 2, 0, ..] => Category::Benchmarking,
        [0x2001, 0..=0x1ff, ..] => Category::Reserved,
        [0x2000..=0x3fff, _, _, _, 0 | 0x200, 0x5efe, ..] => return hidden(last, Embedding::Isatap),
        // All that was ever given out to hosts.
        [0x2000..=0x3fff, ..] => return None,
        _ => Category::Reserved,
    };
    Some(category.into())
}

fn named(hidden: Option<Refused>) -> Option<Refused> {
    Some(hidden.unwrap_or(Category::Reserved.into()))
}
