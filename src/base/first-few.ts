/** For people: the first of many names, and how many more there are. */
const MAX_NAMES = 3

export function firstFew(names: readonly string[]): string {
  const more = names.length - MAX_NAMES
  return names.slice(0, MAX_NAMES).join(', ') + (more > 0 ? ` and ${more} more` : '')
}
