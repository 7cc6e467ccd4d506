//! The first hello: the choice of the dialect (PROTOCOL.md section 1.9) and the claim of a UAID (section 2.2).

use super::{Client, Identity, Session, steps::Greeting};
use crate::{
    api::{Admission, BareHello, CloseCode, Context, Effect, InvalidUaid, Step},
    message::{NamedUaid, Request, error_reply, simplepush::hello_reply},
    simplepush::SimplePush,
    violation::Violation,
};
use beckon_types::{Dialect, Hello, HelloOutcome, Listed, Presence, Spelling};

impl Session {
    /// Takes the first hello. Its dialect may depend on what is stored for the UAID, so what only one dialect
    /// demands is checked here if the dialect is certain, and with the store's step otherwise. What both would
    /// refuse is refused before anything is claimed.
    pub(super) fn greet(&mut self, context: &Context<'_>, request: &Request<'_>, effects: &mut Vec<Effect>) {
        let settings = context.settings;
        let named = request.use_webpush().map(|yes| if yes { Dialect::WebPush } else { Dialect::SimplePush });
        let otherwise = match settings.bare_hello {
            _ if request.has_channel_list() => Dialect::SimplePush,
            BareHello::WebPush => Dialect::WebPush,
            BareHello::Reject => Dialect::SimplePush,
        };
        let uaid = request.uaid();
        // The list means nothing in Web Push.
        let listed = match named {
            Some(Dialect::WebPush) => None,
            Some(Dialect::SimplePush) | None => request.listed(settings.channels_max_sp),
        };
        // Only a UAID that can be looked up leaves the dialect open.
        let certain = match uaid {
            NamedUaid::Valid(..) => named,
            NamedUaid::None | NamedUaid::Malformed | NamedUaid::WrongType => Some(named.unwrap_or(otherwise)),
        };
        let violation = match (certain, uaid) {
            (Some(Dialect::WebPush), _) if request.broadcasts().is_err() => Some(Violation::IllFormed),
            (Some(Dialect::SimplePush), _) if listed.is_none() => Some(Violation::IllFormed),
            (None, _) if listed.is_none() && request.broadcasts().is_err() => Some(Violation::IllFormed),
            (_, NamedUaid::WrongType) => Some(Violation::IllFormed),
            (Some(Dialect::SimplePush), NamedUaid::Malformed)
                if settings.invalid_uaid == InvalidUaid::Refuse =>
            {
                Some(Violation::MalformedUaid)
            }
            (_, NamedUaid::None | NamedUaid::Malformed | NamedUaid::Valid(..)) => None,
        };
        if let Some(violation) = violation {
            return match certain {
                Some(Dialect::SimplePush) => self.refuse(request.text, violation, effects),
                Some(Dialect::WebPush) | None => self.refuse_hello(request.text, violation, effects),
            };
        }
        match uaid {
            NamedUaid::Valid(uaid, spelling) => {
                let adopt = named.unwrap_or(otherwise) == Dialect::SimplePush;
                let room = (context.admission)() == Admission::Open;
                let hello = Hello {
                    uaid,
                    presence: self.presence,
                    named,
                    otherwise,
                    listed,
                    adopt,
                    room,
                    backlog_max: settings.batch_size,
                };
                let greeting = Greeting { request: request.text.into(), generated: false };
                self.claim(hello, spelling, greeting, effects);
            }
            NamedUaid::None | NamedUaid::Malformed | NamedUaid::WrongType => {
                self.claim_new(context, named.unwrap_or(otherwise), request.text.into(), effects);
            }
        }
    }

    /// Claims a new UAID.
    fn claim_new(
        &mut self,
        context: &Context<'_>,
        dialect: Dialect,
        request: Box<str>,
        effects: &mut Vec<Effect>,
    ) {
        let hello = Hello {
            uaid: (context.new_uaid)(),
            presence: self.presence,
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
        self.claim(hello, Spelling::PLAIN, Greeting { request, generated: true }, effects);
    }

    fn claim(&mut self, hello: Hello, spelling: Spelling, greeting: Greeting, effects: &mut Vec<Effect>) {
        self.identity = Some(Identity { uaid: hello.uaid, spelling });
        self.steps.begin_greeting(greeting);
        effects.push(Effect::Store(Step::Hello(hello)));
    }

    /// Takes the outcome of a claim.
    pub(super) fn greeted(
        &mut self,
        context: &Context<'_>,
        greeting: Greeting,
        outcome: HelloOutcome,
        effects: &mut Vec<Effect>,
    ) {
        let Greeting { request, generated } = greeting;
        match outcome {
            HelloOutcome::Claimed { dialect, former, snapshot, backlog } => {
                self.evict(former, effects);
                match dialect {
                    Dialect::SimplePush => {
                        let (client, pending) = SimplePush::new(context.now, snapshot);
                        self.client = Client::SimplePush(client);
                        self.reply_to_hello(200, None, effects);
                        effects.extend(pending.into_iter().map(Effect::Send));
                        self.take_held(context, effects);
                    }
                    Dialect::WebPush => self.greeted_webpush(context, &request, (snapshot, backlog), effects),
                }
            }
            HelloOutcome::Deleted { former } => {
                self.evict(former, effects);
                self.claim_another(context, Dialect::SimplePush, Greeting { request, generated }, effects);
            }
            HelloOutcome::Unknown { dialect } => {
                self.claim_another(context, dialect, Greeting { request, generated }, effects);
            }
            HelloOutcome::ListMissing => {
                self.identity = None;
                self.refuse(&request, Violation::IllFormed, effects);
            }
            HelloOutcome::NoRoom => {
                match (context.admission)() {
                    Admission::Redirect(url) => self.reply_to_hello(307, Some(&url), effects),
                    // If room has come up meanwhile, the user agent finds it when it returns.
                    Admission::Full | Admission::Open => self.reply_to_hello(429, None, effects),
                }
                self.identity = None;
                self.close(CloseCode::Normal, effects);
            }
        }
    }

    /// Goes on with a new UAID in place of one that could not be claimed. A new one that cannot be claimed
    /// either is the store's fault.
    fn claim_another(
        &mut self,
        context: &Context<'_>,
        dialect: Dialect,
        Greeting { request, generated }: Greeting,
        effects: &mut Vec<Effect>,
    ) {
        if generated {
            self.close(CloseCode::Error, effects);
        } else {
            self.claim_new(context, dialect, request, effects);
        }
    }

    /// Replies to a hello with the UAID as it is spelled now.
    pub(crate) fn reply_to_hello(&self, status: u16, redirect: Option<&str>, effects: &mut Vec<Effect>) {
        if let Some(Identity { uaid, spelling }) = self.identity {
            effects.push(Effect::Send(hello_reply(uaid, spelling, status, redirect)));
        }
    }

    /// Refuses a hello that is Web Push or may be. There is no UAID in the reply, because Firefox takes any reply that has one for
    /// a success.
    pub(crate) fn refuse_hello(&mut self, request: &str, violation: Violation, effects: &mut Vec<Effect>) {
        effects.push(Effect::Send(error_reply(request, violation.reply(), &["uaid"])));
        self.close(CloseCode::Policy, effects);
    }

    /// Has the former owner's socket closed.
    pub(super) fn evict(&self, former: Option<Presence>, effects: &mut Vec<Effect>) {
        effects.extend(former.filter(|former| *former != self.presence).map(Effect::Evict));
    }
}
