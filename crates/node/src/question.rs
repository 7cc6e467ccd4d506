//! What is asked for on the health paths and the admin listener (PROTOCOL.md section 6).

use crate::routes::Route;

/// The routes of every admin listener, besides those that a node adds.
pub const ROUTES: &[Route] = &[
    Route::new("GET, HEAD", "/live"),
    Route::new("GET, HEAD", "/ready"),
    Route::new("GET, HEAD", "/status"),
    Route::new("GET, HEAD", "/health"),
    Route::new("GET, HEAD", "/__lbheartbeat__"),
    Route::new("GET, HEAD", "/__heartbeat__"),
    Route::new("GET, HEAD", "/realstatus"),
    Route::new("GET, HEAD", "/__version__"),
    Route::new("GET, HEAD", "/metrics"),
    Route::new("GET, HEAD, POST", "/drain"),
    Route::new("POST", "/undrain"),
    Route::new("POST", "/reload"),
];

/// Where a request has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// On the public listener: only what load balancers need.
    Public,
    /// On the admin listener.
    Operator,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    Live,
    Ready,
    Status,
    Health,
    LoadBalancer,
    RealStatus,
    Version,
    Metrics,
    Drain,
    Undrain,
    Reload,
}

impl Question {
    /// The table of paths.
    pub(crate) fn of(audience: Audience, path: &str) -> Option<Self> {
        match (path, audience) {
            ("/live", _) => Some(Self::Live),
            ("/ready", _) => Some(Self::Ready),
            ("/status" | "/status/", _) => Some(Self::Status),
            ("/health", _) => Some(Self::Health),
            ("/__lbheartbeat__", _) => Some(Self::LoadBalancer),
            ("/__heartbeat__", Audience::Operator) => Some(Self::Health),
            ("/realstatus" | "/realstatus/", Audience::Operator) => Some(Self::RealStatus),
            ("/__version__", Audience::Operator) => Some(Self::Version),
            ("/metrics" | "/metrics/", Audience::Operator) => Some(Self::Metrics),
            ("/drain", Audience::Operator) => Some(Self::Drain),
            ("/undrain", Audience::Operator) => Some(Self::Undrain),
            ("/reload", Audience::Operator) => Some(Self::Reload),
            _ => None,
        }
    }
}
