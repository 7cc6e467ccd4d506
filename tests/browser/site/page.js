// The page: subscribes, and shows what its service worker has received.

const scope = new URL('.', location.href).href;

/** What tests call. */
globalThis.push = {
  /** Subscribes, with or without the public key of an application server, and returns the subscription. */
  async subscribe(applicationServerKey) {
    const options = { userVisibleOnly: true };
    if (applicationServerKey !== undefined) {
      options.applicationServerKey = applicationServerKey;
    }
    const subscription = await (await registration()).pushManager.subscribe(options);
    await show();
    return subscription.toJSON();
  },

  /** The subscription there is; null if there is none. */
  async subscription() {
    return (await (await registration()).pushManager.getSubscription())?.toJSON() ?? null;
  },

  /** Ends the subscription. */
  async unsubscribe() {
    const subscription = await (await registration()).pushManager.getSubscription();
    return subscription.unsubscribe();
  },

  /** All messages received so far: their text, or null for one without. */
  async received() {
    return (await messages()).map((message) => message.text);
  },
};

async function registration() {
  await navigator.serviceWorker.register('worker.js', { scope });
  return navigator.serviceWorker.ready;
}

async function messages() {
  const kept = await caches.open(scope);
  const responses = await kept.matchAll();
  const all = await Promise.all(responses.map((response) => response.json()));
  return all.sort((one, other) => one.at - other.at);
}

async function show() {
  const subscription = await globalThis.push.subscription();
  const received = (await messages()).filter((message) => message.text !== null);
  const last = received.at(-1);
  document.querySelector('#state').textContent = last === undefined ? 'Waiting' : 'Message received';
  document.querySelector('#text').textContent = last?.text ?? '';
  document.querySelector('#count').textContent = `${(await messages()).length}`;
  document.querySelector('#endpoint').textContent = subscription?.endpoint ?? 'none';
  document.querySelector('#browser').textContent = navigator.userAgent;
  document.body.className = last === undefined ? 'waiting' : 'received';
}

navigator.serviceWorker.addEventListener('message', show);
await show();
