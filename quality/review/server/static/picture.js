// The image of an item: blurred unless a look at it is asked for and recorded. Bytes are kept in memory only as long as the item is near.

export class Picture {
  constructor({ image, missing, onLook }) {
    this.image = image;
    this.missing = missing;
    this.onLook = onLook; // (task) => promise: the look is on record
    this.urls = new Map(); // "task/sharp/grey": promise of an object URL or null
    this.looked = new Set();
    this.task = null;
    this.grey = false;
    this.sharp = false;
  }

  load(task, sharp = false, grey = this.grey) {
    const key = `${task}/${sharp ? 1 : 0}/${grey ? 1 : 0}`;
    if (!this.urls.has(key)) {
      const found = fetch(`/image/${task}?sharp=${sharp ? 1 : 0}&grey=${grey ? 1 : 0}`)
        .then(async (response) => (response.ok ? URL.createObjectURL(await response.blob()) : null))
        .catch(() => {
          this.urls.delete(key); // no server: asked for again when it is next wanted
          return null;
        });
      this.urls.set(key, found);
    }
    return this.urls.get(key);
  }

  async show(task) {
    this.task = task;
    if (task === null) {
      this.image.hidden = true;
      this.missing.hidden = true;
      return;
    }
    const { sharp, grey } = this;
    if (sharp && !this.looked.has(task)) {
      await this.onLook(task);
      this.looked.add(task);
    }
    const url = await this.load(task, sharp, grey);
    if (this.task !== task || this.sharp !== sharp || this.grey !== grey) return; // something else is shown by now
    this.image.hidden = url === null;
    this.missing.hidden = url !== null;
    if (url !== null) this.image.src = url;
    this.image.dataset.sharp = sharp ? "1" : "0";
  }

  reveal(sharp) {
    this.sharp = sharp;
    return this.show(this.task);
  }

  turnGrey(grey) {
    this.grey = grey;
    return this.show(this.task);
  }

  // Lets go of what is not of these tasks.
  async keep(tasks) {
    for (const [key, url] of [...this.urls]) {
      if (!tasks.has(key.split("/")[0])) {
        this.urls.delete(key);
        const found = await url;
        if (found !== null) URL.revokeObjectURL(found);
      }
    }
  }
}
