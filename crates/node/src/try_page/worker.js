// The service worker: Firefox starts it when a push message has arrived and been decrypted.

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('push', (event) => event.waitUntil(received(event.data?.text() ?? '')));

/** Shows the message as a notification, and passes it to the page if that is open. */
async function received(text) {
  for (const client of await self.clients.matchAll({ includeUncontrolled: true })) {
    client.postMessage(text);
  }
  await self.registration.showNotification('Beckon', { body: text });
}
