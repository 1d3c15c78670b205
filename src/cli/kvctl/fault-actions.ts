/**
 * What `fault` does: it asks one peer who there is, and sends the command to each that has a part in it. Over
 * HTTP, which a peer that plays dead goes on answering for faults alone, and from here, because the peers may
 * not reach each other.
 */
import { isErrorCode, KvError } from '../../base/error.ts'
import { type Address, parseAddress } from '../../base/ids.ts'
import type { FaultCommand, FaultReport, PeerPlace } from '../../wire/faults.ts'
import { peersTouched, resolveFault } from '../../wire/faults.ts'
import { AdvisedError } from '../failure.ts'
import { colors, printJson, renderTable } from '../terminal.ts'

export interface Asking {
  readonly peers: readonly string[]
  readonly timeoutMs: number
  readonly json: boolean
}

/** @throws INVALID_ARGUMENT, FORBIDDEN; UNAVAILABLE: a peer that has a part did not answer */
export async function injectFault(command: FaultCommand, asking: Asking): Promise<void> {
  const { peers } = await askAny(asking)
  const resolved = resolveFault(command, peers)
  const body = JSON.stringify(resolved)
  await askAll(peersTouched(resolved, peers), asking, body)
}

export async function listFaults(asking: Asking): Promise<void> {
  const { peers } = await askAny(asking)
  await askAll(peers, asking, null)
}

/**
 * Of each peer what it answers; one that is not running simulates nothing, which is no error while others do.
 */
async function askAll(places: readonly PeerPlace[], asking: Asking, body: string | null): Promise<void> {
  const answers = await Promise.allSettled(places.map(({ address }) => ask(address, asking.timeoutMs, body)))
  const reports: FaultReport[] = []
  const absent: Address[] = []
  for (const [index, answer] of answers.entries()) {
    const { address } = places[index] as PeerPlace
    if (answer.status === 'fulfilled') reports.push(answer.value)
    else if (answer.reason instanceof NotRunning) absent.push(address)
    else throw answer.reason
  }
  if (reports.length === 0) throw unreached(absent)
  await print(reports, absent, asking.json)
}

async function print(
  reports: readonly FaultReport[],
  absent: readonly Address[],
  json: boolean,
): Promise<void> {
  if (json) {
    const peers = reports.map(({ nodeId, address, state, faults }) => ({ nodeId, address, state, faults }))
    printJson({ peers, absent })
    return
  }
  const rows = reports.map(({ address, state, faults }) => [address, state, String(faults.length)])
  const titles = [{ title: 'peer' }, { title: 'state' }, { title: 'faults', align: 'right' }] as const
  // Both ends of a cut say so.
  const sentences = new Set(reports.flatMap(({ faults }) => faults))
  const lines = [await renderTable(titles, rows), '', ...sentences]
  if (sentences.size === 0) lines.push('nothing is simulated')
  process.stdout.write(`${lines.join('\n')}\n`)
  const { yellow } = colors(process.stderr)
  for (const address of absent) process.stderr.write(yellow(`warning: ${address} is not running\n`))
}

/** The first of the named peers that answers. */
async function askAny({ peers, timeoutMs }: Asking): Promise<FaultReport> {
  const failures: unknown[] = []
  for (const address of peers.map(parseAddress)) {
    try {
      return await ask(address, timeoutMs, null)
    } catch (error) {
      if (!(error instanceof KvError) || error.code !== 'UNAVAILABLE') throw error
      failures.push(error)
    }
  }
  if (failures.length === 1) throw failures[0]
  throw unreached(peers)
}

function unreached(peers: readonly string[]): KvError {
  return new AdvisedError(
    'UNAVAILABLE',
    `no answer from ${peers.join(', ')}; is kvnode running there?`,
    '--peer HOST:PORT names another peer',
  )
}

/** Nobody listens there. */
class NotRunning extends AdvisedError {
  constructor(address: Address) {
    super('UNAVAILABLE', `nothing is running at ${address}`, '--peer HOST:PORT names another peer')
  }
}

/** @param body null: what is being simulated */
async function ask(address: Address, timeoutMs: number, body: string | null): Promise<FaultReport> {
  let response: Response
  let answer: unknown
  try {
    response = await fetch(`http://${address}/v1/faults`, {
      signal: AbortSignal.timeout(timeoutMs),
      ...(body === null ? {} : { method: 'POST', headers: { 'content-type': 'application/json' }, body }),
    })
    answer = await response.json()
  } catch (error) {
    if (isRefused(error)) throw new NotRunning(address)
    throw new KvError('UNAVAILABLE', `${address} did not answer in time, or not as a peer does`, {
      cause: error,
    })
  }
  if (response.ok) return answer as FaultReport
  const { code, detail } = answer as { readonly code?: unknown; readonly detail?: unknown }
  throw new KvError(isErrorCode(code) ? code : 'INTERNAL', `${address}: ${String(detail)}`)
}

function isRefused(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause as { readonly code?: unknown } | undefined) : undefined
  return cause?.code === 'ECONNREFUSED'
}
