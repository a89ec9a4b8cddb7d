// A small plot of the last minutes: uPlot on a canvas, drawn again as samples come. The figure beside it says the same in words.
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { colour, useTheme } from "../lib/theme";

const HEIGHT = 44;
/** What has just begun isn't stretched over the whole width. */
const SPAN_S_MIN = 60;

export function Plot({ times, values }: { times: number[]; values: (number | null)[] }) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const theme = useTheme();
  const data = useRef<uPlot.AlignedData>([times, values]);
  data.current = [times, values];

  useEffect(() => {
    const element = host.current!;
    const made = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        padding: [4, 0, 4, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { time: true, range: (_, low, high) => [Math.min(low, high - SPAN_S_MIN), high] }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 0, 1e-9) * 1.1] } },
        axes: [{ show: false }, { show: false }],
        series: [{}, { stroke: colour("accent"), width: 1.5, fill: colour("accent-faint"), points: { show: false }, spanGaps: true }],
      },
      data.current,
      element,
    );
    plot.current = made;
    const sized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    sized.observe(element);
    return () => {
      sized.disconnect();
      made.destroy();
    };
  }, [theme]);

  useEffect(() => {
    plot.current?.setData([times, values]);
  }, [times, values]);
  return <div ref={host} />;
}
