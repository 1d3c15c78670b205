/**
 * Plants one bug at a time in a copy of the source and runs the ordinary campaign on it: `npm run mutants`. A
 * bug that is not found within its time is missed, and so is one that can no longer be planted. Exit code 0:
 * all caught.
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MUTANTS, type Mutant } from './mutants.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Every mutant meets the same seeds. */
const CAMPAIGN = ['--seeds', '1..60', '--peers', '5', '--minutes', '2', '--jobs', '2']
const LIMIT_MS = 60_000

interface Verdict {
  readonly caught: boolean
  readonly how: string
}

async function judge(mutant: Mutant): Promise<Verdict> {
  const directory = mkdtempSync(join(tmpdir(), 'kvnode-mutant-'))
  try {
    for (const part of ['src', 'test/simulation', 'package.json', 'tsconfig.json']) {
      cpSync(join(ROOT, part), join(directory, part), { recursive: true })
    }
    symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'))
    const obstacle = plant(mutant, directory)
    if (obstacle !== null) return { caught: false, how: obstacle }
    return await campaign(directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Why the bug cannot be planted, or null. */
function plant(mutant: Mutant, directory: string): string | null {
  for (const { file, text, instead } of mutant.edits) {
    const path = join(directory, file)
    const parts = readFileSync(path, 'utf8').split(text)
    if (parts.length !== 2) return `it no longer applies: ${file} has its text ${parts.length - 1} times`
    writeFileSync(path, parts.join(instead))
  }
  return null
}

/** Exit code 1 of a campaign is a violation; 2 is a mutant that does not even run. */
function campaign(directory: string): Promise<Verdict> {
  const more = ['--stop-at-first', '--shrink-seconds', '0']
  const args = ['--import', 'tsx', join('test', 'simulation', 'campaign.ts'), ...CAMPAIGN, ...more]
  const child = spawn(process.execPath, args, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const timer = setTimeout(() => child.kill(), LIMIT_MS)
  return new Promise((resolve) => {
    child.on('close', (code) => {
      clearTimeout(timer)
      const failure = /^FAILED seed .*$/m.exec(output)?.[0]
      if (code === 1 && failure !== undefined) resolve({ caught: true, how: failure })
      else if (code === 0) resolve({ caught: false, how: 'the campaign found nothing' })
      else if (code === null) resolve({ caught: false, how: `nothing was found in ${LIMIT_MS / 1000} s` })
      else resolve({ caught: false, how: output.slice(-500) })
    })
  })
}

let missed = 0
for (const mutant of MUTANTS) {
  const begunMs = performance.now()
  const { caught, how } = await judge(mutant)
  if (!caught) missed++
  const seconds = ((performance.now() - begunMs) / 1000).toFixed(1)
  process.stdout.write(`${caught ? 'caught' : 'MISSED'} ${mutant.name} (${seconds} s)\n  ${how}\n`)
}
process.stdout.write(`${MUTANTS.length - missed} of ${MUTANTS.length} caught\n`)
process.exitCode = missed === 0 ? 0 : 1
