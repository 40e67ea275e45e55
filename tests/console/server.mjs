// A tidegate server process on a free port, for the console's tests.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { once } from 'node:events';

export class Server {
  static async start(tidegate, place, listen = '127.0.0.1:0', scheme = 'http') {
    const server = new Server();
    server.scheme = scheme;
    server.tidegate = tidegate;
    server.place = place;
    await server.#spawn(listen);
    return server;
  }

  async #spawn(listen) {
    this.process = spawn(this.tidegate, ['server', '--listen', listen, ...this.place], { stdio: ['ignore', 'ignore', 'pipe'] });
    for await (const line of createInterface({ input: this.process.stderr })) {
      const found = line.match(/address=(\S+)/);
      if (found) {
        this.address = found[1];
        break;
      }
    }
    if (!this.address) throw new Error('the server does not say where it listens');
    this.process.stderr.resume();
    this.url = `${this.scheme}://${this.address}`;
  }

  async get(path) {
    return (await fetch(this.url + path)).json();
  }

  /** Statements that succeed. */
  async ksql(ksql) {
    const response = await fetch(`${this.url}/ksql`, { method: 'POST', body: JSON.stringify({ ksql, streamsProperties: { 'auto.offset.reset': 'earliest' } }) });
    const body = await response.json();
    if (!response.ok) throw new Error(`${ksql}: ${JSON.stringify(body)}`);
    return body;
  }

  async kill() {
    const over = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await over;
  }

  /** The same server on the same port once more. */
  async again() {
    await this.#spawn(this.address);
  }
}
