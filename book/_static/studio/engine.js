// The page's end of the worker: it starts it, brings it its data, and turns messages into promises.

/** Everything heavy, at the far end of a worker. */
export class Engine {
  #pending = new Map();
  #loading = new Map();
  #count = 0;

  /**
   * @param {string} source the text of the worker's script; a Blob works where the page is a file, too
   * @param {string} base where the data files lie
   */
  constructor(source, base) {
    this.base = base;
    this.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    this.worker.onmessage = ({ data }) => this.#receive(data);
  }

  #receive({ id, part, result, error }) {
    const { resolve, reject, onPart } = this.#pending.get(id);
    if (part !== undefined) return onPart?.(part);
    this.#pending.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(error));
  }

  /**
   * Ask the worker to do something.
   * @param {string} task one of the tasks in worker.js
   * @param {object} given
   * @param {(part: any) => void} [onPart] is called with whatever comes before the result
   * @returns {Promise<any>}
   */
  ask(task, given, onPart) {
    const id = this.#count++;
    this.worker.postMessage({ id, task, given });
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject, onPart }));
  }

  /**
   * Load one of the data files, once. It is a script, because a page that is a file may read nothing else.
   * @param {string} name
   * @returns {Promise<any>} what the worker made of it
   */
  load(name) {
    if (!this.#loading.has(name)) this.#loading.set(name, this.#load(name));
    return this.#loading.get(name);
  }

  async #load(name) {
    await new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${this.base}${name}.data.js`;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${name}.data.js is missing beside the page: build the book with make book`));
      document.head.append(script);
    });
    const data = globalThis.STUDIO_DATA[name];
    delete globalThis.STUDIO_DATA[name];
    return this.ask("load", { name, data });
  }
}
