/**
 * One partition from beginning to end, on real processes: keys are written, the network is cut, every side
 * goes on as well as it can, the cuts heal, and in the end all replicas of every key must be equal and hold
 * all that was acknowledged, without anybody having read them: by what peers kept for each other, and by
 * comparing hash trees. Prints what it did and saw.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { text } from '../../src/base/bytes.ts'
import { formatBytes } from '../../src/cli/terminal.ts'
import { KvError } from '../../src/index.ts'
import { countOf, endAll, type PeerProcess, run } from '../processes/peers.ts'
import type { PartitionNetwork } from './partition-network.ts'
import { differing, inParallel, moved, ReplicaReader, type Replicas } from './replicas.ts'
import { Ledger, OLD_VALUE, type Write, writesOf } from './workload.ts'

/** Longer than it takes to call a silent peer dead, also on a busy machine. */
const VIEWS_TIMEOUT_MS = 30_000
const POLL_MS = 50
/** One key in so many is looked at again and again, to see when replicas are equal. */
const WATCHED_SHARE = 50
const LATE_POLL_MS = 3000
/** By then a peer that nobody hears of is called dead. */
const SETTLE_MS = 6_000
/** From the heal to equal replicas: what is promised, and how long it is watched. */
export const RECONCILED_WITHIN_MS = 10_000
const RECONCILE_TIMEOUT_MS = 60_000

export interface Scenario {
  readonly title: string
  readonly peers: number
  /** Makes the cuts, one sentence for each. */
  cut(network: PartitionNetwork): Promise<readonly string[]>
  /** How many peers, itself included, each peer believes to be up once it has noticed. */
  readonly up: readonly number[]
  /** Whether writers reach owners in common. Default false. */
  readonly sidesMeet?: boolean
  /** The peers that are written through meanwhile. */
  readonly writers: readonly number[]
}

export interface ExperimentOptions {
  /** That each writer writes to. */
  readonly keys: number
  readonly print: (line: string) => void
}

export interface Outcome {
  readonly acknowledged: number
  /** Keys that have several values, written concurrently. */
  readonly concurrent: number
  readonly viewsAgreeMs: number
  readonly replicasAgreeMs: number
  /** Keys whose replicas are not all the same; none, if all is well. */
  readonly unequal: readonly string[]
  /** Acknowledged values that an owner or a reader does not find, and values that came back. */
  readonly faults: readonly string[]
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
  readonly #print: (line: string) => void
  /** By writer. */
  readonly #plans: readonly (readonly Write[])[]
  readonly #keys: readonly string[]
  /** Of the old keys, before the cut. */
  readonly #contexts = new Map<string, string>()
  readonly #ledger: Ledger

  constructor(
    scenario: Scenario,
    network: PartitionNetwork,
    reader: ReplicaReader,
    { keys, print }: ExperimentOptions,
  ) {
    this.#scenario = scenario
    this.#network = network
    this.#reader = reader
    this.#print = print
    this.#ledger = new Ledger(scenario.sidesMeet ?? false)
    this.#plans = scenario.writers.map((_, place) => writesOf(place, keys))
    this.#keys = [...new Set(this.#plans.flat().map(({ key }) => key))]
  }

  async run(): Promise<Outcome> {
    await this.#writeOldKeys()
    // Times count from before the command is given: what it takes itself is in them.
    const cutMs = performance.now()
    for (const line of await this.#scenario.cut(this.#network)) this.#print(`  cut: ${line}`)
    const { up, peers, writers } = this.#scenario
    // Views that are to stay as they are prove nothing before there was time to change them.
    const isUnnoticed = up.every((count) => count === peers)
    if (isUnnoticed) await sleep(SETTLE_MS)
    const noticedMs = await this.#viewsBecome(up, cutMs)
    this.#print(`  after ${noticedMs} ms each sees ${up.join(', ')} peers up${isUnnoticed ? ', still' : ''}`)
    await Promise.all(writers.map((index, place) => this.#writeThrough(index, this.#plans[place] ?? [])))
    const before = await this.#reader.read(this.#keys)
    const { concurrent } = this.#ledger
    const found = `${differing(before).length} of ${before.size} keys differ between their replicas`
    this.#print(`  ${found}, ${concurrent.length} were written on several sides`)
    return this.#reconcile(before)
  }

  async #reconcile(before: Replicas): Promise<Outcome> {
    const startMs = performance.now()
    await this.#network.heal()
    const everyone = this.#scenario.up.map(() => this.#scenario.peers)
    const viewsAgreeMs = await this.#viewsBecome(everyone, startMs)
    this.#print(`  healed: everyone sees everyone after ${viewsAgreeMs} ms`)
    const { after, replicasAgreeMs } = await this.#becomeEqual(startMs)
    for (const [address, count] of moved(before, after)) this.#print(`  ${address}: ${count} records changed`)
    await this.#printTasks()
    const unequal = differing(after)
    const verdict = unequal.length === 0 ? 'all replicas are equal' : `UNEQUAL: ${some(unequal)}`
    const promise = `${RECONCILED_WITHIN_MS / 1000} s are promised`
    this.#print(
      `  ${replicasAgreeMs} ms after the heal (${promise}), ${after.size} keys compared: ${verdict}`,
    )
    const faults = [...this.#ledger.faults(after), ...(await this.#siblingFaults())]
    if (faults.length === 0)
      this.#print('  nothing acknowledged is lost, nothing replaced or deleted is back')
    else this.#print(`  WRONG: ${some(faults)}`)
    const { count: acknowledged, concurrent } = this.#ledger
    return { acknowledged, concurrent: concurrent.length, viewsAgreeMs, replicasAgreeMs, unequal, faults }
  }

  /**
   * Looks at a few keys again and again, at the others once when those are equal, and in the end at
   * everything: of reads that one owner answers, one in ten is followed by a comparison of all of them, so
   * whoever looks often repairs. What differs even then is looked at again now and then only.
   */
  async #becomeEqual(startMs: number): Promise<{ after: Replicas; replicasAgreeMs: number }> {
    const elapsedMs = (): number => Math.round(performance.now() - startMs)
    const watch = async (keys: readonly string[], intervalMs: number): Promise<void> => {
      for (let rest = keys; rest.length > 0 && elapsedMs() < RECONCILE_TIMEOUT_MS; ) {
        rest = differing(await this.#reader.read(rest))
        if (rest.length > 0) await sleep(intervalMs)
      }
    }
    const isWatched = (_: string, place: number): boolean => place % WATCHED_SHARE === 0
    await watch(this.#keys.filter(isWatched), POLL_MS)
    const late = differing(await this.#reader.read(this.#keys.filter((key, i) => !isWatched(key, i))))
    const quietMs = elapsedMs()
    if (late.length > 0)
      this.#print(`  ${late.length} keys differ after ${quietMs} ms, when others were equal`)
    await watch(late, LATE_POLL_MS)
    const replicasAgreeMs = late.length > 0 ? elapsedMs() : quietMs
    return { after: await this.#reader.read(this.#keys), replicasAgreeMs }
  }

  /** What moved, as the peers tell it. */
  async #printTasks(): Promise<void> {
    const { tasks } = await this.#reader.client(this.#peer(0)).service.tasks()
    for (const [kind, verb] of [
      ['handoff', 'delivered from what was kept for others'],
      ['repair', 'found and repaired by comparing hash trees'],
    ] as const) {
      const ofKind = tasks.filter((task) => task.kind === kind)
      const keys = ofKind.reduce((sum, { repaired }) => sum + repaired, 0)
      const bytes = ofKind.reduce((sum, task) => sum + task.bytes, 0)
      this.#print(`  ${verb}, last time each: ${keys} records, ${formatBytes(bytes)}`)
    }
  }

  /** Every peer shows all siblings of every key; one key is looked at, and resolved, as a person would. */
  async #siblingFaults(): Promise<string[]> {
    const { concurrent } = this.#ledger
    const faults: string[] = []
    for (const peer of this.#network.peers) {
      const client = this.#reader.client(peer)
      await inParallel(concurrent, async (key) => {
        const { values } = await client.get(key)
        const fault = this.#ledger.fault(
          key,
          values.map(({ value }) => text(value)),
        )
        if (fault !== null) faults.push(`${key} through ${peer.address}: ${fault}`)
      })
    }
    const [key] = concurrent
    return key === undefined ? faults : [...faults, ...(await this.#resolve(key))]
  }

  async #resolve(key: string): Promise<string[]> {
    const shown = await this.#kvctlGet(key)
    const [first] = shown
    if (first === undefined) return ['there is no peer']
    const faults = shown.flatMap(({ values }, i) => {
      const fault = this.#ledger.fault(key, values)
      return fault === null ? [] : [`${key} by kvctl get at ${this.#peer(i).address}: ${fault}`]
    })
    this.#print(
      `  kvctl get ${key}, at each peer: ${first.values.map((value) => `'${value}'`).join(' and ')}`,
    )
    const env = { KVCTL_PEER: this.#peer(this.#network.peers.length - 1).address }
    const put = await run('kvctl', ['put', key, 'resolved', '--context', first.context], { env })
    if (put.code !== 0) return [...faults, `kvctl put with the context ended with ${put.code}: ${put.stderr}`]
    const after = await this.#kvctlGet(key)
    const isResolved = after.every(({ values }) => values.length === 1 && values[0] === 'resolved')
    if (isResolved) this.#print("  kvctl put with that context: 'resolved' is the only value, at each peer")
    return isResolved ? faults : [...faults, `${key} was not resolved: ${JSON.stringify(after)}`]
  }

  /** At each peer. */
  async #kvctlGet(key: string): Promise<readonly { values: string[]; context: string }[]> {
    const found: { values: string[]; context: string }[] = []
    for (const { address } of this.#network.peers) {
      const { code, stdout, stderr } = await run('kvctl', ['get', key, '--json', '--peer', address])
      if (code !== 0) throw new Error(`kvctl get ${key} ended with ${code}: ${stderr}`)
      const { values, context } = JSON.parse(stdout) as { values: { value: string }[]; context: string }
      found.push({ values: values.map(({ value }) => value), context })
    }
    return found
  }

  async #writeOldKeys(): Promise<void> {
    const client = this.#reader.client(this.#peer(0))
    const old = new Set(this.#plans.flat().flatMap(({ key, isOld }) => (isOld ? [key] : [])))
    await inParallel([...old], async (key) => {
      const { context } = await client.put(key, OLD_VALUE, { w: 'all' })
      this.#contexts.set(key, context)
    })
    this.#print(`  ${old.size} keys written before`)
  }

  async #writeThrough(index: number, plan: readonly Write[]): Promise<void> {
    const client = this.#reader.client(this.#peer(index))
    const counts = { acknowledged: 0, refused: 0, unknown: 0, read: 0 }
    const old = plan.filter(({ isOld }) => isOld)
    await inParallel(old, async ({ key }) => {
      // A side may hold no replica of it.
      if ((await client.get(key, { r: 1 }).catch(() => null)) !== null) counts.read++
    })
    await inParallel(plan, async (write) => {
      const { key, value } = write
      const options = { context: this.#contexts.get(key) }
      try {
        if (value === null) await client.delete(key, options)
        else await client.put(key, value, options)
        counts.acknowledged++
        this.#ledger.acknowledged(write)
      } catch (error) {
        if (!(error instanceof KvError)) throw error
        if (error.code !== 'TIMEOUT_UNKNOWN') counts.refused++
        else {
          counts.unknown++
          this.#ledger.unknown(write)
        }
      }
    })
    const { acknowledged, refused, unknown, read } = counts
    const deletes = plan.filter(({ value }) => value === null).length
    this.#print(
      `  through ${this.#peer(index).address}: ${read} of ${old.length} old keys read; of ${plan.length} ` +
        `writes (${deletes} deletes) ${acknowledged} acknowledged, ${refused} refused, ${unknown} unknown`,
    )
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

function some(items: readonly string[]): string {
  const rest = items.length > 10 ? ` and ${items.length - 10} more` : ''
  return `${items.slice(0, 10).join('; ')}${rest}`
}
