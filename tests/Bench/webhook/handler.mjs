// What the controllers on Lambda do with a webhook: verify it, look at it, hand it to a queue, answer. Here with neither
// Lambda's nor the queue's network between.   handler.mjs PORT SECRET-FILE QUEUE-PORT
import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, createServer, request } from 'node:http';

const [port, secretFile, queue] = process.argv.slice(2);
const secret = readFileSync(secretFile, 'utf8').trim();
const agent = new Agent({ keepAlive: true, maxSockets: 64 });

const enqueue = message => new Promise((resolve, reject) => {
  const sending = request({ host: '127.0.0.1', port: queue, method: 'POST', agent, headers: { 'content-length': message.length } }, answer => {
    answer.resume();
    answer.on('end', () => answer.statusCode === 200 ? resolve() : reject(new Error(`the queue answered ${answer.statusCode}`)));
  });
  sending.on('error', reject);
  sending.end(message);
});

createServer((incoming, answer) => {
  const chunks = [];
  incoming.on('data', chunk => chunks.push(chunk));
  incoming.on('end', async () => {
    const body = Buffer.concat(chunks);
    const right = Buffer.from('sha256=' + createHmac('sha256', secret).update(body).digest('hex'));
    const given = Buffer.from(incoming.headers['x-hub-signature-256'] ?? '');
    if (right.length !== given.length || !timingSafeEqual(right, given))
      return answer.writeHead(401).end();
    const event = JSON.parse(body);
    if (incoming.headers['x-github-event'] !== 'workflow_job')
      return answer.writeHead(202).end();
    const job = event.workflow_job;
    await enqueue(Buffer.from(JSON.stringify({
      id: job.id, eventType: 'workflow_job', repositoryName: event.repository.name, repositoryOwner: event.repository.owner.login,
      installationId: event.installation?.id ?? 0, labels: job.labels, action: event.action, body: body.toString(),
    })));
    answer.writeHead(202).end();
  });
}).listen(Number(port), '127.0.0.1', () => console.log('listening'));
