// Holds the description of the sockets against AsyncAPI's specification, by its makers' own parser: node validate.mjs FILE.
//
// The file is looked at twice: as it is, and as a daemon serves it that is no hub. Errors and warnings end it with 1.
import { readFile } from 'node:fs/promises';
import { Parser, DiagnosticSeverity } from '@asyncapi/parser';

const HUB = /^# hub begins$[^]*?^# hub ends$/gm;

const [file] = process.argv.slice(2);
if (!file) {
  console.error('node validate.mjs FILE');
  process.exit(2);
}

async function validate(text, what) {
  const { document, diagnostics } = await new Parser().parse(text, { source: file });
  const severe = diagnostics.filter(({ severity }) => severity <= DiagnosticSeverity.Warning);
  for (const { code, message, path, range, severity } of severe) {
    const place = `${file}:${range.start.line + 1} (${path.join('.')})`;
    console.error(`${place}: ${DiagnosticSeverity[severity]}: ${code}: ${message}`);
  }
  const channels = document?.channels().all().length ?? 0;
  if (severe.length || channels === 0) {
    console.error(`${file}, ${what}: no valid document`);
    process.exitCode = 1;
    return;
  }
  const messages = document.allMessages().all();
  const examples = messages.flatMap((message) => message.examples().all()).length;
  const operations = document.allOperations().all().length;
  console.log(`AsyncAPI ${document.version()}, ${what}: ${channels} channels, ${operations} operations, ` +
    `${messages.length} messages, ${examples} examples`);
}

const text = await readFile(file, 'utf8');
await validate(text, 'with a hub');
await validate(text.replace(HUB, ''), 'without a hub');
