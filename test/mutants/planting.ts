/** A copy of the project with a bug in it. */
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundleWorker } from '../simulation/bundle.ts'
import type { Mutant } from './mutants.ts'

/** What a campaign needs. */
const PARTS = ['src', 'test/simulation', 'package.json', 'tsconfig.json']

/** What is built in the copy stays in it. @param copy a directory that is not there yet */
export function copyProject(root: string, copy: string): void {
  mkdirSync(copy)
  for (const part of PARTS) cpSync(join(root, part), join(copy, part), { recursive: true })
  mkdirSync(join(copy, 'node_modules'))
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (name === '.cache') continue
    symlinkSync(join(root, 'node_modules', name), join(copy, 'node_modules', name))
  }
}

/** @returns why the bug cannot be planted, or null */
export function plant({ edits }: Mutant, copy: string): string | null {
  for (const { file, text, instead } of edits) {
    const path = join(copy, file)
    const parts = readFileSync(path, 'utf8').split(text)
    if (parts.length !== 2) return `it no longer applies: ${file} has its text ${parts.length - 1} times`
    writeFileSync(path, parts.join(instead))
  }
  return null
}

/** What of a copy runs in a campaign, as bytes: equal ones are the same program. */
export function programOf(copy: string): Promise<Buffer> {
  return bundleWorker({ root: copy, file: join(copy, 'program.mjs'), minify: true })
}
