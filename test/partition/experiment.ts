/**
 * One partition from beginning to end, on real processes: keys are written, the network is cut, every side
 * goes on as well as it can, the cuts heal, and in the end all replicas of every key must be equal and hold
 * all that was acknowledged. Prints what it did and saw.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { KvError, type PutOptions } from '../../src/index.ts'
import { countOf, endAll, type PeerProcess } from '../processes/peers.ts'
import type { PartitionNetwork } from './partition-network.ts'
import { differing, inParallel, moved, ReplicaReader, type Replicas } from './replicas.ts'

/** Longer than it takes to call a silent peer dead, also on a busy machine. */
const VIEWS_TIMEOUT_MS = 30_000
const POLL_MS = 50
/** By then a peer that nobody hears of is called dead. */
const SETTLE_MS = 6_000

export interface Scenario {
  readonly title: string
  readonly peers: number
  /** Makes the cuts, one sentence for each. */
  cut(network: PartitionNetwork): Promise<readonly string[]>
  /** How many peers, itself included, each peer believes to be up once it has noticed. */
  readonly up: readonly number[]
  /** The peers that are written through meanwhile. */
  readonly writers: readonly number[]
}

export interface ExperimentOptions {
  /** Keys that are there before, and as many new ones for each writer. */
  readonly keys: number
  readonly print: (line: string) => void
}

export interface Outcome {
  readonly acknowledged: number
  readonly viewsAgreeMs: number
  readonly replicasAgreeMs: number
  /** Keys whose replicas are not all the same; none, if all is well. */
  readonly unequal: readonly string[]
  /** Acknowledged values that an owner does not hold. */
  readonly lost: readonly string[]
}

export async function runExperiment(
  scenario: Scenario,
  network: PartitionNetwork,
  options: ExperimentOptions,
): Promise<Outcome> {
  options.print(`${scenario.title}: ${scenario.peers} peers, cut by ${network.name}`)
  await network.start(scenario.peers)
  const reader = await ReplicaReader.connect(network.peers)
  try {
    return await new Experiment(scenario, network, reader, options).run()
  } finally {
    reader.close()
    await endAll(network.peers)
  }
}

class Experiment {
  readonly #scenario: Scenario
  readonly #network: PartitionNetwork
  readonly #reader: ReplicaReader
  readonly #options: ExperimentOptions
  readonly #old: readonly string[]
  readonly #keys: string[] = []
  /** Of the old keys, before the cut: whoever writes with it replaces the old value and nothing else. */
  readonly #contexts = new Map<string, string>()
  /** By key. No writer has seen another one's value, so none of these may ever be missing. */
  readonly #acknowledged = new Map<string, Set<string>>()

  constructor(
    scenario: Scenario,
    network: PartitionNetwork,
    reader: ReplicaReader,
    options: ExperimentOptions,
  ) {
    this.#scenario = scenario
    this.#network = network
    this.#reader = reader
    this.#options = options
    this.#old = Array.from({ length: options.keys }, (_, i) => `old-${i}`)
  }

  async run(): Promise<Outcome> {
    const { print } = this.#options
    await this.#writeOldKeys()
    // Times count from before the command is given: what it takes itself is in them.
    const cutMs = performance.now()
    for (const line of await this.#scenario.cut(this.#network)) print(`  cut: ${line}`)
    const { up, peers } = this.#scenario
    // Views that are to stay as they are prove nothing before there was time to change them.
    const isUnnoticed = up.every((count) => count === peers)
    if (isUnnoticed) await sleep(SETTLE_MS)
    const noticedMs = await this.#viewsBecome(up, cutMs)
    print(`  after ${noticedMs} ms each sees ${up.join(', ')} peers up${isUnnoticed ? ', still' : ''}`)
    await Promise.all(this.#scenario.writers.map((index) => this.#writeThrough(index)))
    const before = await this.#reader.read(this.#keys)
    print(`  ${differing(before).length} of ${before.size} keys differ between their replicas`)
    return this.#reconcile(before)
  }

  async #reconcile(before: Replicas): Promise<Outcome> {
    const { print } = this.#options
    const startMs = performance.now()
    await this.#network.heal()
    const everyone = this.#scenario.up.map(() => this.#scenario.peers)
    const viewsAgreeMs = await this.#viewsBecome(everyone, startMs)
    print(`  healed: everyone sees everyone after ${viewsAgreeMs} ms`)
    // What diverged is put right when it is read.
    await this.#reader.repairByReading(this.#keys)
    const after = await this.#reader.read(this.#keys)
    const replicasAgreeMs = Math.round(performance.now() - startMs)
    for (const [address, count] of moved(before, after)) print(`  ${address}: ${count} records changed`)
    const [unequal, lost] = [differing(after), this.#lostIn(after)]
    const verdict = unequal.length === 0 ? 'all replicas are equal' : `UNEQUAL: ${unequal.join(' ')}`
    print(`  reconciled by reading after ${replicasAgreeMs} ms, ${after.size} keys compared: ${verdict}`)
    print(lost.length === 0 ? '  nothing acknowledged is lost' : `  LOST: ${lost.join(' ')}`)
    const acknowledged = [...this.#acknowledged.values()].reduce((sum, values) => sum + values.size, 0)
    return { acknowledged, viewsAgreeMs, replicasAgreeMs, unequal, lost }
  }

  async #writeOldKeys(): Promise<void> {
    const client = this.#reader.client(this.#peer(0))
    await inParallel(this.#old, async (key) => {
      const { context } = await client.put(key, 'old', { w: 'all' })
      this.#contexts.set(key, context)
    })
    this.#keys.push(...this.#old)
  }

  /** Replaces the old keys, as every writer does, and makes new ones of its own. */
  async #writeThrough(index: number): Promise<void> {
    const client = this.#reader.client(this.#peer(index))
    const fresh = Array.from({ length: this.#options.keys }, (_, i) => `new-${index}-${i}`)
    this.#keys.push(...fresh)
    const counts = { acknowledged: 0, refused: 0, unknown: 0, read: 0 }
    const write = async (key: string, options: PutOptions): Promise<void> => {
      const value = `by ${index}`
      try {
        await client.put(key, value, options)
        counts.acknowledged++
        this.#acknowledged.set(key, (this.#acknowledged.get(key) ?? new Set()).add(value))
      } catch (error) {
        if (!(error instanceof KvError)) throw error
        if (error.code === 'TIMEOUT_UNKNOWN') counts.unknown++
        else counts.refused++
      }
    }
    await inParallel(this.#old, async (key) => {
      // A side may hold no replica of it.
      if ((await client.get(key, { r: 1 }).catch(() => null)) !== null) counts.read++
    })
    await inParallel(this.#old, (key) => write(key, { context: this.#contexts.get(key) }))
    await inParallel(fresh, (key) => write(key, {}))
    const { acknowledged, refused, unknown, read } = counts
    this.#options.print(
      `  through ${this.#peer(index).address}: ${read} of ${this.#old.length} old keys read; of ` +
        `${this.#old.length + fresh.length} writes ${acknowledged} acknowledged, ${refused} refused, ` +
        `${unknown} unknown`,
    )
  }

  #lostIn(replicas: Replicas): string[] {
    return [...this.#acknowledged].flatMap(([key, values]) => {
      const owners = [...(replicas.get(key)?.values() ?? [])]
      const isHeld = (value: string): boolean => owners.every((owner) => owner.values.includes(value))
      return [...values].filter((value) => !isHeld(value)).map((value) => `${key}=${value}`)
    })
  }

  async #viewsBecome(up: readonly number[], startMs: number): Promise<number> {
    for (const [index, count] of up.entries()) {
      const { service } = this.#reader.client(this.#peer(index))
      while (countOf(await service.status(), 'UN') !== count) {
        if (performance.now() - startMs > VIEWS_TIMEOUT_MS)
          throw new Error(`${this.#peer(index).address} does not see ${count} peers up`)
        await sleep(POLL_MS)
      }
    }
    return Math.round(performance.now() - startMs)
  }

  #peer(index: number): PeerProcess {
    return this.#network.peers[index] as PeerProcess
  }
}
