// Dots on a canvas. A status has its colour, its size and, where there is room, its shape; only cells that changed are drawn again.
// Dots without a shape are written as pixels, which is an order of magnitude less work than a rectangle each.
import { colour } from "../../lib/theme";
import type { FleetMap, Layout } from "./map";
import { LABEL, STATUSES } from "./map";

/** From this many pixels on, a dot has room for a shape. */
const SHAPED = 9;
const IDLE = STATUSES.indexOf("idle");

export class Painter {
  private readonly context: CanvasRenderingContext2D;
  private readonly colours = STATUSES.map((status) => colour(status));
  private readonly scale = window.devicePixelRatio;
  private readonly pixels: Pixels | null = null;
  private drawn: Uint8Array | null = null;

  constructor(
    canvas: HTMLCanvasElement,
    private readonly layout: Layout,
    width: number,
  ) {
    canvas.width = Math.round(width * this.scale);
    canvas.height = Math.round(layout.height * this.scale);
    this.context = canvas.getContext("2d")!;
    if (layout.cell < SHAPED) this.pixels = new Pixels(this.context, this.colours);
    else this.context.scale(this.scale, this.scale);
  }

  /** Draw what isn't yet as the map says. */
  paint({ codes }: FleetMap) {
    const { cell, blocks } = this.layout;
    for (const { pool, x, y, columns } of blocks) {
      for (let own = 0; own < pool.agents; own++) {
        const at = pool.from + own;
        const code = codes[at]!;
        if (this.drawn?.[at] === code) continue;
        const left = x + (own % columns) * cell;
        const top = y + LABEL + Math.floor(own / columns) * cell;
        if (this.pixels) this.pixels.dot(code, left * this.scale, top * this.scale, cell * this.scale);
        else this.shape(code, left, top);
      }
    }
    this.pixels?.show();
    this.drawn = codes;
  }

  private shape(code: number, x: number, y: number) {
    const { context } = this;
    const { cell } = this.layout;
    const low = Math.floor(cell / (code === IDLE ? 4 : 8));
    const high = cell - low;
    const radius = (high - low) / 2;
    context.fillStyle = context.strokeStyle = this.colours[code]!;
    context.clearRect(x, y, cell, cell);
    context.lineWidth = 2;
    context.beginPath();
    switch (STATUSES[code]) {
      case "error":
        context.moveTo(x + low, y + low);
        context.lineTo(x + high, y + high);
        context.moveTo(x + high, y + low);
        context.lineTo(x + low, y + high);
        context.stroke();
        break;
      case "healing":
        context.arc(x + cell / 2, y + cell / 2, radius - 1, 0, 2 * Math.PI);
        context.stroke();
        break;
      default:
        context.arc(x + cell / 2, y + cell / 2, radius, 0, 2 * Math.PI);
        context.fill();
    }
  }
}

/** A canvas' pixels, in those of the screen. */
class Pixels {
  private readonly image: ImageData;
  private readonly words: Uint32Array;
  private readonly inks: number[];
  /** The rows that changed since they were last shown. */
  private from = Infinity;
  private to = 0;

  constructor(
    private readonly context: CanvasRenderingContext2D,
    colours: string[],
  ) {
    const { width, height } = context.canvas;
    this.image = context.createImageData(width, Math.max(1, height));
    this.words = new Uint32Array(this.image.data.buffer);
    this.inks = colours.map((given) => this.ink(given));
  }

  /** Write a square; one that is idle is a pixel smaller, so that those beside it stand apart. */
  dot(code: number, x: number, y: number, size: number) {
    const { words } = this;
    const { width } = this.image;
    const ink = this.inks[code]!;
    const gap = code === IDLE ? 1 : 0;
    const left = Math.round(x);
    const right = Math.round(x + size);
    const top = Math.round(y);
    const bottom = Math.round(y + size);
    for (let row = top; row < bottom; row++) {
      const end = row * width + right;
      for (let at = row * width + left; at < end; at++) words[at] = row < bottom - gap && at < end - gap ? ink : 0;
    }
    this.from = Math.min(this.from, top);
    this.to = Math.max(this.to, bottom);
  }

  /** Show what was written. */
  show() {
    if (this.to > this.from) this.context.putImageData(this.image, 0, 0, 0, this.from, this.image.width, this.to - this.from);
    this.from = Infinity;
    this.to = 0;
  }

  /** A colour as the word that a pixel of it is: red first, whatever the machine's order of bytes. */
  private ink(given: string): number {
    this.context.fillStyle = given; // reads back as #rrggbb
    const bytes = (this.context.fillStyle as string).match(/[0-9a-f]{2}/g)!.map((pair) => Number.parseInt(pair, 16));
    return new Uint32Array(Uint8Array.from([...bytes, 255]).buffer)[0]!;
  }
}
