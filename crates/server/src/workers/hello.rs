//! Who may join, and as what: the first frame of a session.

use runabout_protocol::frame::Hello;
use runabout_protocol::{Capability, PROTOCOL_VERSION, Trust, WorkerKind};
use runabout_scheduler::Capabilities;
use runabout_scheduler::placement::Side;

use crate::engine::{Newcomer, SLOTS_MAX};
use crate::guards::Token;

/// The most characters of a worker's name; what is longer is cut.
const NAME_CHARS_MAX: usize = 128;

/// What the request told of whoever connects.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// A browser's page has opened the connection.
    pub is_page: bool,
    /// The request has shown the node's token already.
    pub has_shown_token: bool,
}

/// Decides what a session is, by what it says and how it came.
///
/// # Errors
/// It cannot join, for the reason.
pub fn admit(hello: Hello, caller: Caller, token: Option<&Token>) -> Result<Newcomer, String> {
    if let Some(token) = token.filter(|_| !caller.has_shown_token) {
        match &hello.token {
            None => return Err("this node wants its token in hello".to_owned()),
            Some(shown) if !token.is(shown) => return Err("the token is wrong".to_owned()),
            Some(_) => {}
        }
    }
    if hello.protocol != PROTOCOL_VERSION {
        let asked = hello.protocol;
        return Err(format!("protocol {asked} is not spoken here, but {PROTOCOL_VERSION} is"));
    }
    // A claim may lower trust and never raises it: who says to be a tab is none to rely on.
    let is_tab = caller.is_page || hello.kind == WorkerKind::Tab;
    let (kind, trust) =
        if is_tab { (WorkerKind::Tab, Trust::Tab) } else { (hello.kind, Trust::Joined) };
    Ok(Newcomer {
        name: name(hello.name.as_deref(), kind),
        kind,
        trust,
        slots: hello.slots.min(SLOTS_MAX),
        capabilities: capabilities(hello.capabilities, trust),
        side: Side::Here,
    })
}

/// What is not a browser keeps exact limits, as its JavaScript runs in QuickJS.
fn capabilities(mut said: Vec<Capability>, trust: Trust) -> Capabilities {
    if trust == Trust::Joined && said.contains(&Capability::Js) {
        said.push(Capability::Quickjs);
    }
    Capabilities::of(&said)
}

fn name(said: Option<&str>, kind: WorkerKind) -> String {
    let printable = said.unwrap_or_default().chars().filter(|char| !char.is_control());
    let name: String = printable.take(NAME_CHARS_MAX).collect();
    match name.trim() {
        "" => match kind {
            WorkerKind::Tab => "tab",
            WorkerKind::Node => "node",
            WorkerKind::Other => "worker",
        }
        .to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISTANT: Caller = Caller { is_page: false, has_shown_token: false };
    const PAGE: Caller = Caller { is_page: true, ..DISTANT };

    fn hello(kind: WorkerKind) -> Hello {
        let capabilities = vec![Capability::Js, Capability::Wasm];
        Hello { protocol: 1, kind, slots: 2, capabilities, name: None, token: None }
    }

    #[test]
    fn whatever_a_page_says_it_is_a_tab() {
        for kind in [WorkerKind::Tab, WorkerKind::Node, WorkerKind::Other] {
            let newcomer = admit(hello(kind), PAGE, None).expect("admitted");
            assert_eq!((newcomer.kind, newcomer.trust), (WorkerKind::Tab, Trust::Tab));
        }
    }

    #[test]
    fn only_who_says_to_be_a_tab_is_trusted_less() {
        let trust = |kind| admit(hello(kind), DISTANT, None).expect("admitted").trust;
        assert_eq!(trust(WorkerKind::Tab), Trust::Tab);
        assert_eq!(trust(WorkerKind::Node), Trust::Joined);
        assert_eq!(trust(WorkerKind::Other), Trust::Joined);
    }

    #[test]
    fn exact_limits_are_kept_by_nodes_and_by_tabs_that_say_so() {
        let exact = |hello| {
            let newcomer = admit(hello, DISTANT, None).expect("admitted");
            newcomer.capabilities.contains(Capability::Quickjs)
        };
        assert!(exact(hello(WorkerKind::Node)));
        assert!(!exact(hello(WorkerKind::Tab)));
        let capabilities = vec![Capability::Js, Capability::Quickjs];
        assert!(exact(Hello { capabilities, ..hello(WorkerKind::Tab) }));
    }

    #[test]
    fn a_token_is_wanted_where_the_node_has_one() {
        let token = Token::of("secret");
        let with = |token: Option<&str>| Hello {
            token: token.map(str::to_owned),
            ..hello(WorkerKind::Node)
        };
        let refused = |shown| admit(with(shown), DISTANT, Some(&token)).is_err();
        assert_eq!([None, Some("secre"), Some("secret")].map(refused), [true, true, false]);
        let shown = Caller { has_shown_token: true, ..DISTANT };
        assert!(admit(with(None), shown, Some(&token)).is_ok());
    }

    #[test]
    fn names_are_short_and_one_line() {
        let named = |name: &str| {
            let hello = Hello { name: Some(name.to_owned()), ..hello(WorkerKind::Other) };
            admit(hello, DISTANT, None).expect("admitted").name
        };
        assert_eq!(named(" a\nb\u{1b}[1m "), "ab[1m");
        assert_eq!(named(" "), "worker");
        assert_eq!(named(&"x".repeat(200)).len(), NAME_CHARS_MAX);
    }

    #[test]
    fn another_protocol_is_refused_and_many_slots_are_cut() {
        let newer = Hello { protocol: 2, ..hello(WorkerKind::Node) };
        assert!(admit(newer, DISTANT, None).is_err());
        let many = Hello { slots: u32::MAX, ..hello(WorkerKind::Node) };
        assert_eq!(admit(many, DISTANT, None).expect("admitted").slots, SLOTS_MAX);
    }
}
