// Dots on a canvas. A status has its colour, its size and, where there is room, its shape; only cells that changed are drawn again.
import { colour } from "../../lib/theme";
import type { FleetMap, Layout } from "./map";
import { LABEL, STATUSES } from "./map";

/** From this many pixels on, a dot has room for a shape. */
const SHAPED = 9;

export class Painter {
  private readonly context: CanvasRenderingContext2D;
  private readonly colours = STATUSES.map((status) => colour(status));
  private drawn: Uint8Array | null = null;

  constructor(
    canvas: HTMLCanvasElement,
    private readonly layout: Layout,
    width: number,
  ) {
    const scale = window.devicePixelRatio;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(layout.height * scale);
    this.context = canvas.getContext("2d")!;
    this.context.scale(scale, scale);
  }

  /** Draw what isn't yet as the map says; returns how many dots that were. */
  paint({ codes }: FleetMap): number {
    const { cell, blocks } = this.layout;
    const changed: number[][] = STATUSES.map(() => []);
    let total = 0;
    for (const { pool, x, y, columns } of blocks) {
      for (let own = 0; own < pool.agents; own++) {
        const at = pool.from + own;
        const code = codes[at]!;
        if (this.drawn?.[at] === code) continue;
        changed[code]!.push(x + (own % columns) * cell, y + LABEL + Math.floor(own / columns) * cell);
        total++;
      }
    }
    changed.forEach((corners, code) => this.dots(code, corners));
    this.drawn = codes;
    return total;
  }

  private dots(code: number, corners: number[]) {
    const { context } = this;
    const { cell } = this.layout;
    context.fillStyle = context.strokeStyle = this.colours[code]!;
    const idle = STATUSES[code] === "idle";
    const inset = cell < SHAPED ? (idle ? 0.5 : 0) : Math.floor(cell / (idle ? 4 : 8));
    for (let i = 0; i < corners.length; i += 2) {
      const x = corners[i]!;
      const y = corners[i + 1]!;
      context.clearRect(x, y, cell, cell);
      if (cell >= SHAPED) this.shape(code, x, y, inset);
      else context.fillRect(x + inset, y + inset, cell - 2 * inset, cell - 2 * inset);
    }
  }

  private shape(code: number, x: number, y: number, inset: number) {
    const { context } = this;
    const { cell } = this.layout;
    const low = inset;
    const high = cell - inset;
    const radius = (high - low) / 2;
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
