// Reverse proxies with the configurations of deploy/, at other ports and with a certificate of the test.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * What a configuration is adapted to.
 *
 * @typedef {object} Site
 * @property {string} directory where the proxy keeps its files
 * @property {number} port where it listens
 * @property {number} socketPort where Beckon takes WebSockets
 * @property {number} httpPort where Beckon takes messages
 * @property {string} certificate
 * @property {string} key
 */

/** The proxies, by name: each takes a site, writes its files, and returns the command that runs it. */
export const REVERSE_PROXIES = { nginx, caddy };

/** @param {Site} site */
function nginx({ directory, port, socketPort, httpPort, certificate, key }) {
  const server = adapted('nginx/beckon.conf', {
    'listen 443': `listen 127.0.0.1:${port}`,
    // The loopback interface of a container may have no IPv6.
    'listen [::]:443 ssl http2;': '',
    '127.0.0.1:8080': `127.0.0.1:${socketPort}`,
    '127.0.0.1:8081': `127.0.0.1:${httpPort}`,
    'server_name push.example.net': 'server_name 127.0.0.1',
    '/etc/letsencrypt/live/push.example.net/fullchain.pem': certificate,
    '/etc/letsencrypt/live/push.example.net/privkey.pem': key,
  });
  // Debian's nginx would make these directories in /var/lib, where only root may.
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const paths = temporary.map((name) => `${name}_temp_path ${join(directory, name)};`);
  writeFileSync(
    join(directory, 'nginx.conf'),
    `daemon off;\npid ${directory}/nginx.pid;\nerror_log stderr;\nevents {}\n` +
      `http {\naccess_log off;\n${paths.join('\n')}\n${server}}\n`,
  );
  const program = process.env.BECKON_NGINX ?? 'nginx';
  return [program, '-p', directory, '-c', 'nginx.conf', '-e', 'stderr'];
}

/** @param {Site} site */
function caddy({ directory, port, socketPort, httpPort, certificate, key }) {
  const server = adapted('caddy/Caddyfile', {
    'push.example.net {': `https://127.0.0.1:${port} {\n\ttls ${certificate} ${key}\n`,
    '127.0.0.1:8080': `127.0.0.1:${socketPort}`,
    '127.0.0.1:8081': `127.0.0.1:${httpPort}`,
  });
  const options = '{\n\tadmin off\n\tauto_https disable_redirects\n}\n';
  writeFileSync(join(directory, 'Caddyfile'), options + server);
  return [process.env.BECKON_CADDY ?? 'caddy', 'run', '--config', join(directory, 'Caddyfile')];
}

/** A file of deploy/ in which each of these texts, outside of comments, is replaced. */
function adapted(file, replacements) {
  const text = readFileSync(new URL(`../../../deploy/${file}`, import.meta.url), 'utf8');
  let code = text.split('\n').filter((line) => !line.trim().startsWith('#')).join('\n');
  for (const [before, after] of Object.entries(replacements)) {
    if (!code.includes(before)) {
      throw new Error(`deploy/${file} has no ${before}`);
    }
    code = code.replaceAll(before, after);
  }
  return code;
}
