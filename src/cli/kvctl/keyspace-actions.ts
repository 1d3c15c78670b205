/** What the `keyspace` commands do. */

import { KvError } from '../../base/error.ts'
import {
  type KeyspaceInfo,
  type KeyspaceOptions,
  type KeyspaceShape,
  type KvService,
  shownKeyspace,
} from '../../wire/requests.ts'
import { printJson, renderTable } from '../terminal.ts'
import { parseLevel } from './input.ts'
import { fewOwners, warn } from './ring-warnings.ts'

interface CreateFlags {
  readonly strategy: string
  readonly replicas?: number | undefined
  readonly conflicts: string
  readonly quorum: string
  readonly r: string
  readonly w: string
  readonly durability: string
}

interface AlterFlags {
  readonly strategy?: KeyspaceShape['strategy'] | undefined
  readonly replicas?: number | undefined
  readonly quorum?: KeyspaceShape['quorum'] | undefined
  readonly r?: string | undefined
  readonly w?: string | undefined
}

/** The words were checked against the flags' choices. */
export async function createKeyspace(
  service: KvService,
  name: string,
  flags: CreateFlags,
  json: boolean,
): Promise<void> {
  const options: Partial<KeyspaceOptions> = {
    strategy: flags.strategy as KeyspaceOptions['strategy'],
    ...(flags.replicas === undefined ? {} : { replicas: flags.replicas }),
    conflicts: flags.conflicts as KeyspaceOptions['conflicts'],
    quorum: flags.quorum as KeyspaceOptions['quorum'],
    r: parseLevel(flags.r, '-r') ?? 'quorum',
    w: parseLevel(flags.w, '-w') ?? 'quorum',
    durability: flags.durability as KeyspaceOptions['durability'],
  }
  const isThere = (await service.keyspaces()).some((keyspace) => keyspace.name === name)
  const keyspace = shownKeyspace(await service.createKeyspace(name, options))
  if (json) printJson({ ...keyspace, created: !isThere })
  else if (isThere) process.stdout.write(`keyspace ${name} was there already, with these options\n`)
  else process.stdout.write(`keyspace ${name} is made\n`)
  if (!isThere) warn(await fewOwners(service, { keyspace: name }))
}

export async function listKeyspaces(service: KvService, json: boolean): Promise<void> {
  const keyspaces = await service.keyspaces()
  if (json) {
    printJson(keyspaces.map(shownKeyspace))
    return
  }
  const titles = ['name', 'strategy', 'replicas', 'conflicts', 'quorum', 'r', 'w', 'durability']
  const rows = keyspaces.map((keyspace) => [
    keyspace.name,
    keyspace.strategy,
    keyspace.strategy === 'full' ? 'all' : String(keyspace.replicas),
    keyspace.conflicts,
    keyspace.quorum,
    String(keyspace.r),
    String(keyspace.w),
    keyspace.durability,
  ])
  const table = await renderTable(
    titles.map((title) => ({ title })),
    rows,
  )
  process.stdout.write(`${table}\n`)
}

export async function dropKeyspace(service: KvService, name: string, json: boolean): Promise<void> {
  await service.dropKeyspace(name)
  if (json) printJson({ name, dropped: true })
  else process.stdout.write(`keyspace ${name} is dropped\n`)
}

export async function alterKeyspace(
  service: KvService,
  name: string,
  flags: AlterFlags,
  json: boolean,
): Promise<void> {
  const { strategy, replicas, quorum } = flags
  const [r, w] = [parseLevel(flags.r, '-r'), parseLevel(flags.w, '-w')]
  const shape: Partial<KeyspaceShape> = {
    ...(strategy !== undefined && { strategy }),
    ...(replicas !== undefined && { replicas }),
    ...(quorum !== undefined && { quorum }),
    ...(r !== null && { r }),
    ...(w !== null && { w }),
  }
  if (Object.keys(shape).length === 0) {
    const options = '--strategy, --replicas, --quorum, -r or -w'
    throw new KvError('INVALID_ARGUMENT', `nothing to change: give ${options}`)
  }
  const before = (await service.keyspaces()).find((keyspace) => keyspace.name === name)
  await service.alterKeyspace(name, shape)
  const isMoving = strategy !== undefined || replicas !== undefined
  const isSame = before !== undefined && isSoAlready(before, shape)
  if (json) printJson({ name, ...shape })
  else if (isSame) process.stdout.write(`keyspace ${name} is so already: nothing was changed\n`)
  else if (!isMoving) process.stdout.write(`keyspace ${name} is altered\n`)
  else process.stdout.write(`keyspace ${name} is being altered; 'kvctl tasks' shows how far that is\n`)
  if (isMoving && !isSame) warn(await fewOwners(service, { keyspace: name, strategy, replicas }))
}

function isSoAlready(before: KeyspaceInfo, shape: Partial<KeyspaceShape>): boolean {
  const names = Object.keys(shape) as (keyof KeyspaceShape)[]
  return names.every((name) => shape[name] === before[name])
}
