// The preferences of the Firefox under test.

/** What a user sets who wants Firefox to use a server of his own. docs/clients.md explains them. */
export function pushPreferences(webSocketUrl) {
  const preferences = { 'dom.push.serverURL': webSocketUrl };
  if (webSocketUrl.startsWith('ws:')) {
    // No server in production should need this.
    preferences['dom.push.testing.allowInsecureServerURL'] = true;
  }
  return preferences;
}

/** What differs from a user's Firefox for the sake of the test: no user clicks, and no other server is called. */
export const TEST_PREFERENCES = {
  // A user is asked and grants this.
  'permissions.default.desktop-notification': 1,
  // The protocol that automates Firefox switches the push service off, among others, unless told not to.
  'remote.prefs.recommended': false,
  // No desktop is there to show a notification, so Firefox does it.
  'alerts.useSystemBackend': false,
  // Come back sooner than after five seconds.
  'dom.push.retryBaseInterval': 500,
  'dom.push.loglevel': 'debug',
  'browser.dom.window.dump.enabled': true,
  'devtools.console.stdout.chrome': true,

  // Everything but this machine is behind a proxy that is not there.
  'network.proxy.type': 1,
  'network.proxy.http': '127.0.0.1',
  'network.proxy.http_port': 9,
  'network.proxy.ssl': '127.0.0.1',
  'network.proxy.ssl_port': 9,
  'network.proxy.failover_direct': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'network.dns.disablePrefetch': true,
  'network.manage-offline-status': false,
  'network.trr.mode': 5,

  // What would call home does not even try.
  'app.normandy.enabled': false,
  'app.update.disabledForTesting': true,
  'browser.discovery.enabled': false,
  'browser.newtabpage.enabled': false,
  'browser.ml.enable': false,
  'browser.region.network.url': '',
  'browser.safebrowsing.blockedURIs.enabled': false,
  'browser.safebrowsing.downloads.enabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'browser.search.update': false,
  'browser.topsites.contile.enabled': false,
  'datareporting.healthreport.uploadEnabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'datareporting.usage.uploadEnabled': false,
  'extensions.getAddons.cache.enabled': false,
  'extensions.systemAddon.update.enabled': false,
  'extensions.update.enabled': false,
  'identity.fxaccounts.enabled': false,
  'media.gmp-manager.updateEnabled': false,
  'places.semanticHistory.featureGate': false,
  'security.remote_settings.crlite_filters.enabled': false,
  'security.remote_settings.intermediates.enabled': false,
  'services.settings.loglevel': 'off',
  'services.settings.server': 'data:,#nobody/v1',
  'telemetry.fog.test.localhost_port': -1,
  'toolkit.telemetry.enabled': false,
  'toolkit.telemetry.server': '',
  'toolkit.telemetry.unified': false,

  // Nothing that would come up in front of the page.
  'browser.aboutwelcome.enabled': false,
  'browser.backup.enabled': false,
  'browser.sessionstore.max_resumed_crashes': 0,
  'browser.sessionstore.resume_from_crash': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.homepage_override.mstone': 'ignore',
  'browser.startup.page': 0,
  'browser.tabs.warnOnClose': false,
  'browser.translations.enable': false,
  'browser.warnOnQuit': false,
  'datareporting.policy.dataSubmissionPolicyBypassNotification': true,
  'termsofuse.bypassNotification': true,
  'toolkit.startup.max_resumed_crashes': -1,
};
