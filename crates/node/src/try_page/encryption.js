// Message encryption for Web Push (RFC 8291 over RFC 8188) with the cryptography of the browser.

/** Lengths in bytes. */
const SALT_LEN = 16;
const PUBLIC_KEY_LEN = 65;
const HEADER_LEN = SALT_LEN + 4 + 1 + PUBLIC_KEY_LEN;
const RECORD_SIZE = 4096;
const TAG_LEN = 16;

/** Ends the plaintext of the last record (RFC 8188 section 2). */
const LAST_RECORD = 2;

const CURVE = { name: 'ECDH', namedCurve: 'P-256' };

/** Makes the keys of a subscription. The private key cannot be exported. */
export async function newSubscriptionKeys() {
  const pair = await crypto.subtle.generateKey(CURVE, false, ['deriveBits']);
  return { pair, publicKey: await publicBytes(pair), auth: crypto.getRandomValues(new Uint8Array(16)) };
}

/**
 * Encrypts a message for the owner of a subscription.
 *
 * @param {string} text
 * @param {{publicKey: Uint8Array, auth: Uint8Array}} subscription `p256dh` and `auth`
 * @returns {Promise<Uint8Array>} the body of the request
 */
export async function encrypt(text, subscription) {
  const plaintext = new TextEncoder().encode(text);
  if (plaintext.length > RECORD_SIZE - TAG_LEN - 1) {
    throw new Error('the message is too long for one record');
  }
  const pair = await crypto.subtle.generateKey(CURVE, false, ['deriveBits']);
  const sender = await publicBytes(pair);
  const salt = crypto.getRandomValues(new Uint8Array(SALT_LEN));
  const shared = await agree(pair.privateKey, subscription.publicKey);
  const { key, iv } = await derive(shared, subscription, sender, salt, 'encrypt');
  const record = concatenate(plaintext, Uint8Array.of(LAST_RECORD));
  const ciphertext = await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, record);
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, RECORD_SIZE);
  return concatenate(salt, size, Uint8Array.of(PUBLIC_KEY_LEN), sender, new Uint8Array(ciphertext));
}

/**
 * Decrypts the body of a message with the encoding `aes128gcm`.
 *
 * @param {Uint8Array} body
 * @param {{pair: CryptoKeyPair, publicKey: Uint8Array, auth: Uint8Array}} keys what newSubscriptionKeys() returned
 * @returns {Promise<string>} the text
 */
export async function decrypt(body, keys) {
  if (body.length < HEADER_LEN + TAG_LEN + 1 || body[SALT_LEN + 4] !== PUBLIC_KEY_LEN) {
    throw new Error('the message does not begin with the header of RFC 8291');
  }
  const salt = body.slice(0, SALT_LEN);
  const sender = body.slice(HEADER_LEN - PUBLIC_KEY_LEN, HEADER_LEN);
  const shared = await agree(keys.pair.privateKey, sender);
  const { key, iv } = await derive(shared, keys, sender, salt, 'decrypt');
  const record = new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, key, body.slice(HEADER_LEN)));
  const end = record.findLastIndex((byte) => byte !== 0);
  if (record[end] !== LAST_RECORD) {
    throw new Error('the message is not one whole record');
  }
  return new TextDecoder().decode(record.slice(0, end));
}

/** Bytes as base64url without padding. */
export function toBase64Url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** The bytes of base64url. */
export function fromBase64Url(text) {
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));
}

async function publicBytes(pair) {
  return new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
}

async function agree(privateKey, publicKey) {
  const other = await crypto.subtle.importKey('raw', publicKey, CURVE, false, []);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: 'ECDH', public: other }, privateKey, 256));
}

/** Section 3.4 of RFC 8291: the content encryption key and the nonce. */
async function derive(shared, receiver, sender, salt, usage) {
  const info = concatenate(bytes('WebPush: info\0'), receiver.publicKey, sender);
  const input = await hkdf(receiver.auth, shared, info, 32);
  const key = await hkdf(salt, input, bytes('Content-Encoding: aes128gcm\0'), 16);
  const iv = await hkdf(salt, input, bytes('Content-Encoding: nonce\0'), 12);
  return { key: await crypto.subtle.importKey('raw', key, 'AES-GCM', false, [usage]), iv };
}

async function hkdf(salt, input, info, length) {
  const key = await crypto.subtle.importKey('raw', input, 'HKDF', false, ['deriveBits']);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt, info }, key, length * 8));
}

function bytes(text) {
  return new TextEncoder().encode(text);
}

function concatenate(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
