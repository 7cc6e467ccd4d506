// The code blocks of the documents that a test of this folder runs. CONTRIBUTING.md explains the marks.

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/**
 * A block of a document.
 *
 * @typedef {object} Block
 * @property {string} document its path from the root
 * @property {number} line the number of its first line
 * @property {string} language
 * @property {string} text
 */

/**
 * The blocks below `docs` with `<!-- run by: FILE -->` on the line before.
 *
 * @param {string} file the path of a test from the root
 * @returns {Block[]}
 */
export function markedBlocks(file) {
  const documents = [...markdown('docs')].sort();
  const blocks = documents.flatMap((document) => blocksOf(document, `<!-- run by: ${file} -->`));
  if (blocks.length === 0) {
    throw new Error(`no document has a block for ${file}`);
  }
  return blocks;
}

function* markdown(folder) {
  for (const entry of readdirSync(`${ROOT}${folder}`, { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      yield* markdown(path);
    } else if (path.endsWith('.md')) {
      yield path;
    }
  }
}

function blocksOf(document, mark) {
  const lines = readFileSync(`${ROOT}${document}`, 'utf8').split('\n');
  const blocks = [];
  for (let index = 0; index < lines.length; index += 1) {
    if (lines[index] === mark) {
      const end = lines.indexOf('```', index + 2);
      const text = lines.slice(index + 2, end).join('\n');
      blocks.push({ document, line: index + 2, language: lines[index + 1].replace('```', ''), text });
    }
  }
  return blocks;
}
