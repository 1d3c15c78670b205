import { existsSync } from 'node:fs'
import nodeModule from 'node:module'

/** Runs a built program; before the first build says how to get one. */
export async function launch(program) {
  // Node.js 22 and newer keep compiled code between runs, which makes every later start faster.
  nodeModule.enableCompileCache?.()
  const entry = new URL(`../dist/cli/${program}.js`, import.meta.url)
  if (existsSync(entry)) {
    await import(entry.href)
    return
  }
  const root = decodeURIComponent(new URL('..', import.meta.url).pathname)
  process.stderr.write(
    `${program} is not built yet: run 'npm start' or 'npm install && npm run build' in ${root}\n`,
  )
  process.exitCode = 2
}
