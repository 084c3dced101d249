// A queue of this computer's: appends each message to a file, waits for nothing more, and answers.   queue.mjs PORT FILE
import { createWriteStream } from 'node:fs';
import { createServer } from 'node:http';

const [port, file] = process.argv.slice(2);
const log = createWriteStream(file);

createServer((incoming, answer) => {
  const chunks = [];
  incoming.on('data', chunk => chunks.push(chunk));
  incoming.on('end', () => log.write(Buffer.concat([...chunks, Buffer.from('\n')]), () => answer.writeHead(200).end()));
}).listen(Number(port), '127.0.0.1', () => console.log('listening'));
