import { cpSync, existsSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { scratchDirectory } from '../processes/peers.ts'
import { Processes } from '../processes/processes.ts'

const test = suite('the build')
const root = scratchDirectory()
const processes = new Processes()
const VERSION_FILE = join(root, 'src/base/version.ts')

test.before(() => {
  for (const path of ['bin', 'src', 'package.json', 'tsconfig.json']) {
    cpSync(resolve(path), join(root, path), { recursive: true })
  }
  symlinkSync(resolve('node_modules'), join(root, 'node_modules'))
})

function build(...flags: readonly string[]): Promise<string> {
  return processes.output(process.execPath, [join(root, 'bin/build'), '--no-types', ...flags])
}

/** Something that changes every bundle. */
function change(version: string): void {
  writeFileSync(VERSION_FILE, `export const VERSION = '${version}'\n`)
}

function chunks(): string[] {
  return readdirSync(join(root, 'dist/chunks')).sort()
}

test('programs start at every moment of a build, and what runs finds what it has yet to load', async () => {
  change('1.0.0')
  await build()
  const before = chunks()
  change('1.0.1')
  let isBuilding = true
  const building = build().finally(() => {
    isBuilding = false
  })
  const versions = new Set<string>()
  while (isBuilding) {
    const said = await processes.output(process.execPath, [join(root, 'bin/kvctl'), '--version'])
    versions.add(said.split(' ')[0] ?? '')
  }
  await building
  assert.ok(versions.has('kvnode/1.0.0'), [...versions].join(', '))
  const after = new Set(chunks())
  assert.ok(after.size > before.length, 'it made other chunks')
  for (const chunk of before) assert.ok(after.has(chunk), `${chunk} of the build before is gone`)
})

test('who requires the package is told to import it', async () => {
  await build()
  const required = "try { require('kvnode') } catch (error) { console.log(error.name, error.message) }"
  const imported = "import('kvnode').then(({ connect }) => console.log(typeof connect))"
  const script = `${required}\n${imported}\n`
  // A package may name itself.
  writeFileSync(join(root, 'requiring.cjs'), script)
  const said = await processes.output(process.execPath, [join(root, 'requiring.cjs')])
  assert.match(said, /^KvError kvnode is an ES module: /)
  assert.match(said, /await import\('kvnode'\)\nfunction\n$/)
})

test('only what was built last is kept for the package', async () => {
  await build('--prune')
  const [files = []] = JSON.parse(readFileSync(join(root, 'dist/built'), 'utf8')) as string[][]
  assert.equal(
    chunks().map((name) => join('chunks', name)),
    files.filter((file) => file.startsWith('chunks')).sort(),
  )
})

test('npm’s prepare builds nothing that is there', async () => {
  const stamp = join(root, 'dist/built')
  writeFileSync(join(root, 'dist/types-built'), '')
  const builtMs = statSync(stamp).mtimeMs
  await build('--if-stale')
  assert.is(statSync(stamp).mtimeMs, builtMs)
  change('1.0.2')
  await build('--if-stale')
  assert.ok(statSync(stamp).mtimeMs > builtMs)
  assert.not(readdirSync(join(root, 'dist')).some((name) => name.startsWith('.new-')))
  assert.ok(existsSync(join(root, 'dist/cli/kvnode.js')))
})

test.run()
