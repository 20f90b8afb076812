//! Who imports whom: circles, and chains that are too deep.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::MAX_IMPORT_DEPTH;

/// A script among others.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub(super) is_module: bool,
    /// What it imports, by name.
    pub(super) imports: Vec<String>,
}

/// What is wrong with the imports of an app: a chain of names, each importing the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The last is the first.
    Circle(Vec<String>),
    /// More modules than [`MAX_IMPORT_DEPTH`], one below the other.
    TooDeep(Vec<String>),
}

impl Wrong {
    pub(super) fn chain(&self) -> &[String] {
        match self {
            Wrong::Circle(chain) | Wrong::TooDeep(chain) => chain,
        }
    }
}

/// Every circle that can be told from the others, and every script above a chain that is too deep. In time linear in the
/// number of imports, since tenants write them.
pub(super) fn wrongs(nodes: &BTreeMap<String, Node>) -> Vec<Wrong> {
    // Only modules can be imported; what is missing or none is told of elsewhere.
    let targets = |node: &Node| -> Vec<String> {
        node.imports
            .iter()
            .filter(|name| nodes.get(*name).is_some_and(|node| node.is_module))
            .cloned()
            .collect()
    };
    let edges: BTreeMap<&str, Vec<String>> =
        nodes.iter().map(|(name, node)| (name.as_str(), targets(node))).collect();
    let mut importers: HashMap<&str, Vec<&str>> = HashMap::new();
    for (from, to) in &edges {
        for to in to {
            importers.entry(to).or_default().push(from);
        }
    }
    // From those that import nothing upwards: how many modules are below each, one below the other, and the first of them.
    let mut waits: HashMap<&str, usize> = edges.iter().map(|(name, to)| (*name, to.len())).collect();
    let mut ready: Vec<&str> = waits.iter().filter(|(_, left)| **left == 0).map(|(name, _)| *name).collect();
    let mut below: HashMap<&str, (usize, Option<&str>)> = HashMap::new();
    while let Some(name) = ready.pop() {
        let depth = below.entry(name).or_insert((0, None)).0;
        for importer in importers.get(name).into_iter().flatten() {
            let deepest = below.entry(importer).or_insert((0, None));
            if depth + 1 > deepest.0 {
                *deepest = (depth + 1, Some(name));
            }
            if let Some(left) = waits.get_mut(importer) {
                *left -= 1;
                if *left == 0 {
                    ready.push(importer);
                }
            }
        }
        waits.remove(name);
    }
    let mut wrongs = Vec::new();
    // What still waits stands in a circle or above one: going down from it ends in a circle.
    let stuck = |name: &str| waits.contains_key(name);
    let mut seen = BTreeSet::new();
    for start in edges.keys().filter(|name| stuck(name)) {
        let mut path: Vec<&str> = Vec::new();
        let mut on_path: HashMap<&str, usize> = HashMap::new();
        let mut at: &str = start;
        while seen.insert(at) {
            on_path.insert(at, path.len());
            path.push(at);
            let Some(next) = edges.get(at).and_then(|to| to.iter().find(|name| stuck(name))) else { break };
            at = next;
        }
        if let Some(first) = on_path.get(at) {
            let circle = path.iter().skip(*first).chain([&at]);
            wrongs.push(Wrong::Circle(circle.map(|name| (*name).to_owned()).collect()));
        }
    }
    for (name, node) in nodes.iter().filter(|(name, _)| !stuck(name)) {
        let depth = below.get(name.as_str()).map_or(0, |(depth, _)| *depth);
        // A module that nobody imports yet will be the first below somebody.
        let own = usize::from(node.is_module && !importers.contains_key(name.as_str()));
        if depth + own <= MAX_IMPORT_DEPTH || (node.is_module && own == 0) {
            continue;
        }
        let mut chain = vec![name.clone()];
        let mut at = name.as_str();
        while let Some((_, Some(next))) = below.get(at) {
            chain.push((*next).to_owned());
            at = next;
        }
        wrongs.push(Wrong::TooDeep(chain));
    }
    wrongs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a>b,c` is a module a that imports b and c; `*a` is an endpoint.
    fn of(text: &str) -> Vec<String> {
        let nodes = text.split_whitespace().map(|word| {
            let (name, imports) = word.split_once('>').unwrap_or((word, ""));
            let imports = imports.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            let node = Node { is_module: !name.starts_with('*'), imports };
            (name.trim_start_matches('*').to_owned(), node)
        });
        wrongs(&nodes.collect()).iter().map(|wrong| wrong.chain().join(" ")).collect()
    }

    #[test]
    fn trees_and_diamonds_are_right() {
        assert!(of("*main>a,b a>c b>c c").is_empty());
        assert!(of("*main>a,missing a *other>main").is_empty());
        assert!(of("").is_empty());
    }

    #[test]
    fn each_circle_is_told_once() {
        assert_eq!(of("*main>a a>b b>a"), ["a b a"]);
        assert_eq!(of("a>a"), ["a a"]);
        assert_eq!(of("*x>c *y>c c>d d>e e>c p>q q>p"), ["c d e c", "p q p"]);
        assert_eq!(of("*main>a,leaf leaf a>leaf,b b>a,leaf"), ["a b a"]);
    }

    #[test]
    fn eight_below_a_script_are_enough() {
        let chain = |modules: usize| {
            let tail = (1..modules).map(|at| format!("m{at}>m{} ", at + 1)).collect::<String>();
            format!("{tail} m{modules}")
        };
        assert!(of(&format!("*main>m1 {}", chain(8))).is_empty());
        assert_eq!(of(&format!("*main>m1 {}", chain(9))), ["main m1 m2 m3 m4 m5 m6 m7 m8 m9"]);
        // Nobody imports m1 yet.
        assert!(of(&chain(8)).is_empty());
        assert_eq!(of(&chain(9)), ["m1 m2 m3 m4 m5 m6 m7 m8 m9"]);
    }

    #[test]
    fn many_ways_take_no_longer_than_there_are_imports() {
        // Seven layers of a hundred modules, each importing the whole next layer: 10^14 ways.
        let mut nodes = BTreeMap::new();
        for layer in 0..7 {
            let next: Vec<_> = (0..100).map(|at| format!("m{}-{at}", layer + 1)).collect();
            for at in 0..100 {
                nodes.insert(format!("m{layer}-{at}"), Node { is_module: true, imports: next.clone() });
            }
        }
        assert_eq!(wrongs(&nodes), []);
    }
}
