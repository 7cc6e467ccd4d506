// The service worker: Firefox starts it when a message has arrived and been decrypted.

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('push', (event) => event.waitUntil(received(event.data)));

/** Keeps the message for whoever looks at the page later, shows it, and tells the page if it is open. */
async function received(data) {
  const message = { text: data === null ? null : data.text(), at: Date.now() };
  const kept = await caches.open(self.registration.scope);
  // A path that was never used; the cache keeps entries in the order in which they were made.
  await kept.put(`${self.registration.scope}received/${crypto.randomUUID()}`, new Response(JSON.stringify(message)));
  await self.registration.showNotification('Message received', { body: message.text?.slice(0, 100) ?? '' });
  for (const client of await self.clients.matchAll({ includeUncontrolled: true })) {
    client.postMessage('received');
  }
}
