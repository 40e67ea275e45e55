/** Words of the language, for colours only: completion asks the server. */

const KEYWORDS = `add advance all alter and array as asc assert beginning between bigint boolean by bytes case cast changes column
connector connectors copy create cross date day days decimal define delete desc describe distinct double drop else emit end escape
except exists explain extended false fetch final first following from full function functions grace group grouping having header
headers hopping hour hours if in inner insert int integer intersect interval into is join key last left like limit list map
millisecond milliseconds minute minutes natural not null nulls offset on or order outer over partition pause period preceding
primary print properties qualify queries query range recursive replace resume retention right rows run sample schema script second
seconds select session set sets show sink size source stream streams string struct table tables terminate then time timestamp to
topic topics true tumbling type types unbounded undefine union unset using values varchar variables verify view when where window
with within`;

/** In lower case. */
export const WORDS = new Set(KEYWORDS.split(/\s+/));

/** Those that are types. */
export const TYPES = new Set('array bigint boolean bytes date decimal double int integer map string struct time timestamp varchar'.split(' '));
