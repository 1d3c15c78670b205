/**
 * Counts and timings as plain numbers, which is all that the hot path pays for. prom-client is loaded when
 * somebody first asks to see them; it renders from these numbers and adds what it knows about the process.
 */
import type { Counter as PromCounter, Registry } from 'prom-client'
import type { Counter, Histogram, Metrics } from '../effects/metrics.ts'

/** Upper bounds in seconds: 1, 2.5 and 5 in every power of ten from 0.1 ms to 10 s. */
const BUCKETS_S: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
]

export interface SystemMetrics extends Metrics {
  /** All of them in Prometheus' text format. */
  render(): Promise<RenderedMetrics>
}

export interface RenderedMetrics {
  readonly contentType: string
  readonly body: string
}

/** Asking again for a name gives the same counter or histogram; a gauge is read by whoever named it last. */
export function createSystemMetrics(): SystemMetrics {
  const counters = new Map<string, PlainCounter>()
  const gauges = new Map<string, PlainGauge>()
  const histograms = new Map<string, PlainHistogram>()
  let exporter: Promise<Exporter> | null = null
  return {
    counter(name, help) {
      return ensured(counters, name, () => new PlainCounter(help))
    },
    gauge(name, help, read) {
      gauges.set(name, { help, read })
    },
    histogram(name, help) {
      return ensured(histograms, name, () => new PlainHistogram(help))
    },
    async render() {
      exporter ??= loadExporter()
      const shown = await exporter
      const { registry } = shown
      for (const [name, counter] of counters) shown.counter(name, counter)
      for (const [name, { help }] of gauges) shown.gauge(name, help, () => gauges.get(name)?.read() ?? 0)
      const families = [...histograms].map(([name, histogram]) => histogram.render(name))
      return { contentType: registry.contentType, body: [await registry.metrics(), ...families].join('\n') }
    },
  }
}

class PlainCounter implements Counter {
  readonly help: string
  value = 0

  constructor(help: string) {
    this.help = help
  }

  add(count = 1): void {
    this.value += count
  }
}

interface PlainGauge {
  readonly help: string
  readonly read: () => number
}

class PlainHistogram implements Histogram {
  readonly #help: string
  /** How many fell into each bucket alone; the last one is for what is longer than every bound. */
  readonly #counts = new Float64Array(BUCKETS_S.length + 1)
  #sum = 0

  constructor(help: string) {
    this.#help = help
  }

  observe(seconds: number): void {
    let bucket = 0
    while (bucket < BUCKETS_S.length && seconds > (BUCKETS_S[bucket] as number)) bucket++
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1
    this.#sum += seconds
  }

  /**
   * prom-client takes single observations only, so the text of a histogram, whose counts include the buckets
   * below, is ours.
   */
  render(name: string): string {
    const lines = [`# HELP ${name} ${this.#help}`, `# TYPE ${name} histogram`]
    let count = 0
    for (let bucket = 0; bucket <= BUCKETS_S.length; bucket++) {
      count += this.#counts[bucket] as number
      lines.push(`${name}_bucket{le="${BUCKETS_S[bucket] ?? '+Inf'}"} ${count}`)
    }
    lines.push(`${name}_sum ${this.#sum}`, `${name}_count ${count}`, '')
    return lines.join('\n')
  }
}

function ensured<T>(known: Map<string, T>, name: string, make: () => T): T {
  const found = known.get(name) ?? make()
  known.set(name, found)
  return found
}

/** What the process used until now: prom-client counts from when it is loaded, which is the first scrape. */
function addEarlierCpuTime(registry: Registry): void {
  const { user, system } = process.cpuUsage()
  const used = { process_cpu_user_seconds_total: user, process_cpu_system_seconds_total: system }
  const earlier = { ...used, process_cpu_seconds_total: user + system }
  for (const [name, microseconds] of Object.entries(earlier)) {
    const counter = registry.getSingleMetric(name) as PromCounter | undefined
    counter?.inc(microseconds / 1e6)
  }
}

interface Exporter {
  readonly registry: Registry
  /** Shows it from now on; nothing happens for a name already shown. */
  counter(name: string, counter: PlainCounter): void
  gauge(name: string, help: string, read: () => number): void
}

async function loadExporter(): Promise<Exporter> {
  // The default export, because a bundle of CommonJS has no other.
  const { default: prometheus } = await import('prom-client')
  const { Counter, Gauge, Registry, collectDefaultMetrics } = prometheus
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  addEarlierCpuTime(registry)
  const registers = [registry]
  return {
    registry,
    counter(name, counter) {
      if (registry.getSingleMetric(name) !== undefined) return
      const shown = new Counter({
        name,
        help: counter.help,
        registers,
        collect(): void {
          shown.reset()
          shown.inc(counter.value)
        },
      })
    },
    gauge(name, help, read) {
      if (registry.getSingleMetric(name) !== undefined) return
      const shown = new Gauge({ name, help, registers, collect: (): void => shown.set(read()) })
    },
  }
}
