//! The first hello: the choice of the dialect (PROTOCOL.md section 1.9) and the claim of a UAID (section 2.2).

use crate::{
    api::{Admission, BareHello, Context, Demand, Effect, InvalidUaid},
    identity::Identity,
    message::{
        Frame, NamedUaid, Request,
        webpush::{NamedBroadcast, NamedBroadcasts},
    },
    violation::Violation,
};
use beckon_types::{Dialect, Hello, Listed, Moment, Presence, Spelling};

/// A first hello whose outcome is awaited.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    /// When the socket was upgraded. The hello timeout continues until the outcome.
    pub(crate) since: Moment,
    /// The UAID that is being claimed.
    pub(crate) identity: Identity,
    /// Whether the server generated it.
    pub(crate) is_generated: bool,
    /// The message, for an error reply.
    pub(crate) request: Box<str>,
    /// The broadcasts that the hello names, for Web Push.
    pub(crate) broadcasts: Result<NamedBroadcasts, Violation>,
    /// Messages that came in since; they are handled after the outcome.
    pub(crate) held: Vec<(Frame, Box<str>)>,
}

impl Greeting {
    /// Reads a first hello. Returns it together with the step that claims a UAID.
    ///
    /// The dialect may depend on what is stored for the UAID. What only one dialect demands is checked here if the
    /// dialect is certain, and otherwise with the outcome of the step. What both dialects would refuse is refused here,
    /// before anything is claimed.
    pub(crate) fn read(
        context: &Context<'_>,
        presence: Presence,
        since: Moment,
        request: &Request<'_>,
    ) -> Result<(Self, Hello), Violation> {
        let settings = context.settings;
        let named = request.dialect();
        let otherwise = match settings.bare_hello {
            _ if request.has_channel_list() => Dialect::SimplePush,
            BareHello::WebPush => Dialect::WebPush,
            BareHello::Reject => Dialect::SimplePush,
        };
        let uaid = request.uaid();
        // Only a UAID that can be looked up leaves the dialect open.
        let certain = match uaid {
            NamedUaid::Valid(..) => named,
            NamedUaid::None | NamedUaid::Malformed | NamedUaid::WrongType => Some(named.unwrap_or(otherwise)),
        };
        let listed = match certain {
            Some(Dialect::WebPush) => None,
            Some(Dialect::SimplePush) | None => request.listed(settings.channels_max_sp),
        };
        let broadcasts = match certain {
            Some(Dialect::SimplePush) => Ok(NamedBroadcasts::new()),
            Some(Dialect::WebPush) | None => request.broadcasts().map(Option::unwrap_or_default),
        };
        let is_well_formed = uaid != NamedUaid::WrongType
            && match certain {
                Some(Dialect::SimplePush) => listed.is_some(),
                Some(Dialect::WebPush) => broadcasts.is_ok(),
                None => listed.is_some() || broadcasts.is_ok(),
            };
        match certain {
            Some(Dialect::SimplePush) if !is_well_formed => return Err(Violation::IllFormed),
            Some(Dialect::WebPush) | None if !is_well_formed => return Err(Violation::IllFormedHello),
            Some(Dialect::SimplePush)
                if uaid == NamedUaid::Malformed && settings.invalid_uaid == InvalidUaid::Refuse =>
            {
                return Err(Violation::MalformedUaid);
            }
            Some(Dialect::SimplePush | Dialect::WebPush) | None => {}
        }
        let NamedUaid::Valid(uaid, spelling) = uaid else {
            let (identity, hello) = claim_new(context, presence, named.unwrap_or(otherwise));
            return Ok((Self::new(since, identity, true, request, broadcasts), hello));
        };
        let identity = Identity { uaid, spelling };
        let hello = Hello {
            client: identity.client(settings),
            presence,
            named,
            otherwise,
            listed,
            adopt: named.unwrap_or(otherwise) == Dialect::SimplePush && (context.admits)(Demand::NewClient),
            room: (context.admission)() == Admission::Open,
            backlog_max: settings.batch_size,
        };
        Ok((Self::new(since, identity, false, request, broadcasts), hello))
    }

    fn new(
        since: Moment,
        identity: Identity,
        is_generated: bool,
        request: &Request<'_>,
        broadcasts: Result<NamedBroadcasts, Violation>,
    ) -> Self {
        Self { since, identity, is_generated, request: request.text.into(), broadcasts, held: Vec::new() }
    }

    /// Whether the source may say hello now, and the store has room for the client if it is new.
    pub(crate) fn is_admitted(&self, context: &Context<'_>) -> bool {
        (context.admits)(Demand::Hello) && (!self.is_generated || (context.admits)(Demand::NewClient))
    }

    /// About how many bytes it holds on the heap.
    pub(crate) fn held(&self) -> usize {
        let each = self.broadcasts.iter().flatten().map(|(id, named)| {
            // And about as much for its place in the map.
            2 * (size_of::<NamedBroadcast>() + id.len()) + named.raw_id.len() + named.version.len()
        });
        let broadcasts = each.sum::<usize>();
        self.request.len() + broadcasts + self.held.iter().map(|(_, text)| text.len()).sum::<usize>()
    }

    /// Continues with a generated UAID, because the one that was named cannot be claimed. Returns the step that claims
    /// it.
    pub(crate) fn replace_uaid(
        &mut self,
        context: &Context<'_>,
        presence: Presence,
        dialect: Dialect,
    ) -> Hello {
        let (identity, hello) = claim_new(context, presence, dialect);
        self.identity = identity;
        self.is_generated = true;
        hello
    }
}

/// Generates a UAID. Returns it together with the step that claims it.
fn claim_new(context: &Context<'_>, presence: Presence, dialect: Dialect) -> (Identity, Hello) {
    let identity = Identity { uaid: (context.new_uaid)(), spelling: Spelling::PLAIN };
    let hello = Hello {
        client: identity.client(context.settings),
        presence,
        named: Some(dialect),
        otherwise: dialect,
        listed: match dialect {
            Dialect::SimplePush => Some(Listed::Channels(Vec::new())),
            Dialect::WebPush => None,
        },
        adopt: true,
        room: (context.admission)() == Admission::Open,
        backlog_max: context.settings.batch_size,
    };
    (identity, hello)
}

/// The status of the reply if there is no room, and where there is some.
pub(crate) fn no_room(admission: Admission) -> (u16, Option<String>) {
    match admission {
        Admission::Redirect(url) => (307, Some(url)),
        // If there is room again, the user agent finds it when it returns.
        Admission::Full | Admission::Open => (429, None),
    }
}

/// Closes the socket that owned the UAID before, if there was one.
pub(crate) fn evict(former: Option<Presence>, own: Presence, effects: &mut Vec<Effect>) {
    effects.extend(former.filter(|former| *former != own).map(Effect::Evict));
}
