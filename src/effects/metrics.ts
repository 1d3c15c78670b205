/**
 * Counts and timings for operators. Names are `kv_<noun>_<unit>`; no label holds what a stranger controls.
 */
export interface Metrics {
  counter(name: string, help: string): Counter
  /** `read` is called when somebody looks. */
  gauge(name: string, help: string, read: () => number): void
  /** Seconds, in buckets from 0.1 ms to 10 s. */
  histogram(name: string, help: string): Histogram
}

export interface Counter {
  add(count?: number): void
}

export interface Histogram {
  observe(seconds: number): void
}
