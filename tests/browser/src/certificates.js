// A certificate authority of the test, and a certificate for 127.0.0.1.

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Makes both in a directory and returns their paths. Browsers want the two to be different. */
export function makeCertificates(directory) {
  const path = (name) => join(directory, name);
  const openssl = (...words) => execFileSync('openssl', words, { cwd: directory, stdio: 'pipe' });
  openssl('req', '-x509', ...KEY, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=test authority');
  openssl('req', '-new', ...KEY, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=push');
  writeFileSync(path('server.ext'), 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n');
  openssl(
    ...['x509', '-req', '-in', 'server.csr', '-out', 'server.pem', '-extfile', 'server.ext', '-days', '2'],
    ...['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial'],
  );
  return { authority: path('ca.pem'), certificate: path('server.pem'), key: path('server.key') };
}

/** Makes a profile of Firefox trust an authority, as an administrator would. */
export function trust(profile, authority) {
  const certutil = (...words) => execFileSync('certutil', [...words, '-d', `sql:${profile}`], { stdio: 'pipe' });
  certutil('-N', '--empty-password');
  certutil('-A', '-n', 'test authority', '-t', 'C,,', '-i', authority);
}
