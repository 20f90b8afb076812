//! How the ways of being wrong are written down.

/// An enum of ways, each with the cases that must notice it.
#[macro_export]
macro_rules! wrongs {
    ($($(#[$doc:meta])* $name:ident: $($case:ident)*;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Wrong {
            $($(#[$doc])* $name,)*
        }

        impl Wrong {
            /// Every way with its cases.
            pub(crate) const ALL: &[(Wrong, &[&str])] = &[$((Wrong::$name, &[$(stringify!($case)),*])),*];
        }
    };
}
