/**
 * Long tables: only the rows in sight are in the page. The table scrolls in its own box, and its rows have one height; rows of
 * the height of all others stand for those before and behind.
 */
import { html, useLayoutEffect, useRef, useSignal } from '../vendor/preact.js';

/** Rows beyond the edges of the box, so that a turn of the wheel finds them there. */
const OVERSCAN = 8;

/** @param {number} total rows @param {number} height of one, in pixels @returns what is in sight: `from` to `to`, and the box's `ref` */
export function useWindow(total, height) {
  const box = useRef(null);
  const at = useSignal({ top: 0, height: 400 });
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const measure = () => { at.value = { top: element.scrollTop, height: element.clientHeight }; };
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener('scroll', measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', measure);
    };
  }, []);
  // Fewer rows than before may end above what is in sight: begin at the top again.
  useLayoutEffect(() => { if (box.current && total * height < box.current.scrollTop) box.current.scrollTop = 0; }, [total]);
  const from = Math.max(0, Math.min(total, Math.floor(at.value.top / height)) - OVERSCAN);
  const to = Math.min(total, Math.ceil((at.value.top + at.value.height) / height) + OVERSCAN);
  return { box, from, to };
}

/** A row that stands for rows which are not in the page. */
export const Space = ({ rows, height, columns }) => rows > 0 && html`<tr class="space" aria-hidden="true" style=${{ height: `${rows * height}px` }}><td colspan=${columns}></td></tr>`;
