/** What the linter cannot check about the project as a whole. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, normalize } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { VERSION } from '../src/base/version.ts'
import { COMMANDS as KVCTL_COMMANDS } from '../src/cli/kvctl/commands.ts'
import { COMMANDS as KVNODE_COMMANDS } from '../src/cli/kvnode/commands.ts'

const MAX_LINES = 500
const MAX_LINE_LENGTH = 110

/** What each folder of src/ may import; what those may import is allowed too. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  base: [],
  protocol: ['base'],
  effects: ['base'],
  config: ['base'],
  wire: ['base', 'protocol', 'effects'],
  store: ['protocol', 'effects'],
  cluster: ['protocol', 'effects', 'wire'],
  coordinator: ['store', 'cluster'],
  node: ['base', 'protocol', 'effects', 'config', 'wire', 'store', 'cluster', 'coordinator'],
  platform: ['effects', 'wire', 'base'],
  simulator: ['node', 'client'],
  client: ['wire', 'effects'],
  api: ['node', 'client', 'platform'],
  cli: ['api', 'node', 'client', 'platform', 'simulator', 'config'],
}

/** Where the world may be touched; everywhere else time, chance and input come through effects/. */
const WORLDLY = new Set(['platform', 'api', 'cli'])
/** They stand between the simulator and the real event loop. */
const HOST_FILES = new Set(['src/simulator/host-loop.ts', 'src/simulator/forbidden-globals.ts'])
const WORLD = new RegExp(
  [
    /\bMath\.random\b|\bDate\b|\bperformance\b|\bqueueMicrotask\b|\bcrypto\b|\bBuffer\b/,
    /\b(?:set|clear)(?:Timeout|Interval|Immediate)\b/,
    /\bprocess\.(?:argv|cwd|env|exit|hrtime|memoryUsage|nextTick|on|once|pid|stderr|stdin|stdout)\b/,
  ]
    .map((pattern) => pattern.source)
    .join('|'),
)

const TOP_LEVEL = [
  ...['.ci', '.gitignore', 'CHANGELOG.md', 'LICENSE', 'README.md', 'bin', 'config'],
  ...['package-lock.json', 'package.json', 'src', 'test', 'tsconfig.json'],
]
const MADE_HERE = new Set(['.git', '.kvnode', 'coverage', 'dist', 'node_modules'])

const SOURCES = filesBelow('src').filter((path) => path.endsWith('.ts'))
const TESTS = filesBelow('test').filter((path) => path.endsWith('.ts'))

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = `${directory}/${entry.name}`
    return entry.isDirectory() ? filesBelow(path) : [path]
  })
}

function read(path: string): string {
  return readFileSync(path, 'utf8')
}

/** Without comments and without what stands in quotes. */
function codeOf(path: string): string {
  const tokens = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g
  return read(path).replaceAll(tokens, (token) => token.replaceAll(/[^\n]/g, ' '))
}

function importsOf(path: string): string[] {
  return [...read(path).matchAll(/(?:\bfrom|\bimport)[\s(]*'([^']+)'/g)].map((match) => match[1] as string)
}

function reachable(layer: string): Set<string> {
  const found = new Set([layer])
  for (const each of found) for (const next of LAYERS[each] ?? []) found.add(next)
  return found
}

/** Names every offender, not only the first. */
function assertNone(offenders: readonly string[]): void {
  assert.ok(offenders.length === 0, `\n  ${offenders.join('\n  ')}`)
}

test('every folder of src/ is a layer, and every layer a folder', () => {
  const folders = readdirSync('src', { withFileTypes: true }).filter((entry) => entry.isDirectory())
  assert.equal(folders.map(({ name }) => name).sort(), Object.keys(LAYERS).sort())
})

test('a layer imports only the layers below it', () => {
  const offenders = SOURCES.flatMap((path) => {
    const layer = path.split('/')[1] as string
    if (!(layer in LAYERS)) return []
    const allowed = reachable(layer)
    return importsOf(path)
      .filter((specifier) => specifier.startsWith('.'))
      .map((specifier) => normalize(join(dirname(path), specifier)))
      .filter((target) => !allowed.has(target.split('/')[1] as string))
      .map((target) => `${path} imports ${target}`)
  })
  assertNone(offenders)
})

test('only platform, api and cli import what belongs to Node.js', () => {
  const offenders = SOURCES.filter((path) => !WORLDLY.has(path.split('/')[1] as string)).flatMap((path) =>
    importsOf(path)
      .filter((specifier) =>
        /^node:|^(?:ws|classic-level|fastify|pino|prom-client|nanoid|@oclif)\b/.test(specifier),
      )
      .map((specifier) => `${path} imports ${specifier}`),
  )
  assertNone(offenders)
})

test('below platform there is no clock, no chance and no process but through effects', () => {
  const offenders = SOURCES.filter(
    (path) => !WORLDLY.has(path.split('/')[1] as string) && !HOST_FILES.has(path),
  )
    .filter((path) => path.split('/').length > 2)
    .flatMap((path) => {
      const found = WORLD.exec(codeOf(path))
      return found === null ? [] : [`${path} uses ${found[0]}`]
    })
  assertNone(offenders)
})

test('every test file runs its tests', () => {
  const offenders = TESTS.filter((path) => path.endsWith('.test.ts') && !/\.run\(\)\n$/.test(read(path)))
  assertNone(offenders)
})

test('no file has more than 500 lines, no line more than 110 characters', () => {
  const offenders = [...SOURCES, ...TESTS, ...filesBelow('bin')].flatMap((path) => {
    const lines = read(path).split('\n')
    const long = lines.flatMap((line, index) =>
      line.length > MAX_LINE_LENGTH ? [`${path}:${index + 1} is too long`] : [],
    )
    return lines.length - 1 > MAX_LINES ? [...long, `${path} has ${lines.length - 1} lines`] : long
  })
  assertNone(offenders)
})

test('no file is a drawer for everything', () => {
  const offenders = [...SOURCES, ...TESTS].filter((path) =>
    /^(?:utils?|helpers?|misc|common)\./.test(basename(path)),
  )
  assertNone(offenders)
})

test('nothing lies at the top level that does not belong there', () => {
  const names = readdirSync('.').filter((name) => !MADE_HERE.has(name))
  assertNone(names.filter((name) => !TOP_LEVEL.includes(name)))
  assertNone(TOP_LEVEL.filter((name) => !existsSync(name)).map((name) => `${name} is missing`))
})

test('the code knows the version of the package', () => {
  assert.is(VERSION, JSON.parse(read('package.json')).version)
})

test("README's commands and their flags exist", () => {
  const readme = read('README.md')
  const programs: Readonly<Record<string, Readonly<Record<string, object>>>> = {
    kvctl: KVCTL_COMMANDS,
    kvnode: KVNODE_COMMANDS,
  }
  const mentions = [
    ...readme.matchAll(/\b(kvctl|kvnode) (?!ready on)((?:keyspace|fault) [a-z-]+|[a-z]+)([^\n|`]*)/g),
  ]
  assert.ok(mentions.length > 20)
  const offenders = mentions.flatMap(([whole, program = '', words = '', rest = '']) => {
    const command = programs[program]?.[words.replace(' ', ':')] as CommandLike | undefined
    const isTopic = Object.keys(programs[program] ?? {}).some((id) => id.startsWith(`${words}:`))
    if (command === undefined) return isTopic ? [] : [`no command: ${whole}`]
    const flags = { ...command.baseFlags, ...command.flags }
    const named = [...rest.matchAll(/ --([a-z][a-z-]*)/g)].map((match) => match[1] as string)
    return named.filter((name) => !(name in flags)).map((name) => `no flag --${name}: ${whole}`)
  })
  assertNone(offenders)
})

test('README mentions every command', () => {
  const readme = read('README.md')
  const kvctl = Object.keys(KVCTL_COMMANDS).map((id) => `kvctl ${id.replace(':', ' ')}`)
  const kvnode = Object.keys(KVNODE_COMMANDS).map((id) => `kvnode ${id}`)
  assertNone([...kvctl, ...kvnode].filter((command) => !readme.includes(command)))
})

test('README names every choice that a keyspace is made with', () => {
  const row = read('README.md').match(/^\| `kvctl keyspace create NAME` \|.*$/m)?.[0] ?? ''
  const flags = Object.keys(KVCTL_COMMANDS['keyspace:create'].flags ?? {})
  assert.ok(flags.length >= 7)
  assertNone(flags.filter((name) => !row.includes(name.length === 1 ? `\`-${name}\`` : `\`--${name}`)))
})

interface CommandLike {
  readonly flags?: object
  readonly baseFlags?: object
}

test.run()
