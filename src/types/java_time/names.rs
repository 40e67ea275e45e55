//! English names of months, days and time zones, as Java 11 has them from the Unicode CLDR.

use crate::types::zone::Zone;
use chrono_tz::Tz;

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// From Sunday, with which weeks begin.
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// What zones with the same clocks are called.
pub(super) struct ZoneName {
    /// `Central European Time`
    pub(super) generic: &'static str,
    /// `Central European Standard Time`
    pub(super) standard: &'static str,
    /// `Central European Summer Time`; the standard name where clocks never change.
    pub(super) summer: &'static str,
    /// `CET`
    pub(super) short: &'static str,
}

macro_rules! zone_names {
    ($(($generic:literal, $standard:literal, $summer:literal, $short:literal, $zones:literal)),* $(,)?) => {
        &[$((ZoneName { generic: $generic, standard: $standard, summer: $summer, short: $short }, $zones)),*]
    };
}

/// Names, and the zones that have them, parted by blanks. A zone that is missing here is written by its offset.
static ZONES: &[(ZoneName, &str)] = zone_names![
    (
        "Central European Time",
        "Central European Standard Time",
        "Central European Summer Time",
        "CET",
        "Africa/Algiers Africa/Ceuta Africa/Tunis Arctic/Longyearbyen CET Europe/Amsterdam Europe/Andorra Europe/Belgrade \
      Europe/Berlin Europe/Bratislava Europe/Brussels Europe/Budapest Europe/Busingen Europe/Copenhagen Europe/Gibraltar \
      Europe/Ljubljana Europe/Luxembourg Europe/Madrid Europe/Malta Europe/Monaco Europe/Oslo Europe/Paris \
      Europe/Podgorica Europe/Prague Europe/Rome Europe/San_Marino Europe/Sarajevo Europe/Skopje Europe/Stockholm \
      Europe/Tirane Europe/Vaduz Europe/Vatican Europe/Vienna Europe/Warsaw Europe/Zagreb Europe/Zurich MET Poland"
    ),
    (
        "Eastern European Time",
        "Eastern European Standard Time",
        "Eastern European Summer Time",
        "EET",
        "Africa/Cairo Africa/Tripoli Asia/Beirut Asia/Nicosia EET Egypt Europe/Athens Europe/Bucharest Europe/Chisinau \
      Europe/Helsinki Europe/Kiev Europe/Kyiv Europe/Mariehamn Europe/Riga Europe/Sofia Europe/Tallinn Europe/Vilnius"
    ),
    (
        "Western European Time",
        "Western European Standard Time",
        "Western European Summer Time",
        "WET",
        "Atlantic/Canary Atlantic/Faroe Atlantic/Madeira Europe/Lisbon Portugal WET"
    ),
    ("Greenwich Mean Time", "Greenwich Mean Time", "British Summer Time", "GMT", "Europe/London GB"),
    ("Greenwich Mean Time", "Greenwich Mean Time", "Irish Standard Time", "GMT", "Europe/Dublin Eire"),
    (
        "Greenwich Mean Time",
        "Greenwich Mean Time",
        "Greenwich Mean Time",
        "GMT",
        "Africa/Abidjan Africa/Accra Africa/Dakar Africa/Monrovia Atlantic/Reykjavik Etc/GMT Greenwich Iceland"
    ),
    (
        "Coordinated Universal Time",
        "Coordinated Universal Time",
        "Coordinated Universal Time",
        "UTC",
        "Etc/UTC Etc/UCT Etc/Universal Etc/Zulu UCT Universal Zulu"
    ),
    ("Moscow Time", "Moscow Standard Time", "Moscow Summer Time", "MSK", "Europe/Moscow Europe/Minsk W-SU"),
    (
        "Eastern Time",
        "Eastern Standard Time",
        "Eastern Daylight Time",
        "ET",
        "America/New_York America/Detroit America/Toronto America/Montreal America/Nassau America/Jamaica America/Panama \
      America/Indiana/Indianapolis America/Kentucky/Louisville America/Cancun EST5EDT US/Eastern US/Michigan \
      Canada/Eastern Jamaica"
    ),
    (
        "Central Time",
        "Central Standard Time",
        "Central Daylight Time",
        "CT",
        "America/Chicago America/Winnipeg America/Regina America/Mexico_City America/Monterrey America/Costa_Rica \
      America/El_Salvador America/Guatemala America/Menominee CST6CDT US/Central Canada/Central Mexico/General"
    ),
    (
        "Mountain Time",
        "Mountain Standard Time",
        "Mountain Daylight Time",
        "MT",
        "America/Denver America/Boise America/Edmonton America/Phoenix America/Shiprock MST7MDT US/Mountain US/Arizona \
      Canada/Mountain"
    ),
    (
        "Pacific Time",
        "Pacific Standard Time",
        "Pacific Daylight Time",
        "PT",
        "America/Los_Angeles America/Vancouver America/Tijuana PST8PDT US/Pacific Canada/Pacific"
    ),
    (
        "Alaska Time",
        "Alaska Standard Time",
        "Alaska Daylight Time",
        "AKT",
        "America/Anchorage America/Juneau America/Nome America/Sitka US/Alaska"
    ),
    (
        "Hawaii-Aleutian Time",
        "Hawaii-Aleutian Standard Time",
        "Hawaii-Aleutian Daylight Time",
        "HST",
        "Pacific/Honolulu America/Adak US/Hawaii US/Aleutian"
    ),
    (
        "Atlantic Time",
        "Atlantic Standard Time",
        "Atlantic Daylight Time",
        "AT",
        "America/Halifax America/Puerto_Rico America/Barbados Atlantic/Bermuda Canada/Atlantic"
    ),
    (
        "Newfoundland Time",
        "Newfoundland Standard Time",
        "Newfoundland Daylight Time",
        "NT",
        "America/St_Johns Canada/Newfoundland"
    ),
    ("Brasilia Time", "Brasilia Standard Time", "Brasilia Summer Time", "BRT", "America/Sao_Paulo Brazil/East"),
    (
        "Argentina Time",
        "Argentina Standard Time",
        "Argentina Summer Time",
        "ART",
        "America/Argentina/Buenos_Aires America/Buenos_Aires America/Argentina/Cordoba"
    ),
    ("Colombia Time", "Colombia Standard Time", "Colombia Summer Time", "COT", "America/Bogota"),
    ("Peru Time", "Peru Standard Time", "Peru Summer Time", "PET", "America/Lima"),
    ("Chile Time", "Chile Standard Time", "Chile Summer Time", "CLT", "America/Santiago Chile/Continental"),
    (
        "South Africa Standard Time",
        "South Africa Standard Time",
        "South Africa Standard Time",
        "SAST",
        "Africa/Johannesburg"
    ),
    ("East Africa Time", "East Africa Time", "East Africa Time", "EAT", "Africa/Nairobi Africa/Addis_Ababa"),
    ("Central Africa Time", "Central Africa Time", "Central Africa Time", "CAT", "Africa/Maputo Africa/Harare"),
    ("West Africa Time", "West Africa Standard Time", "West Africa Summer Time", "WAT", "Africa/Lagos Africa/Kinshasa"),
    ("Israel Time", "Israel Standard Time", "Israel Daylight Time", "IST", "Asia/Jerusalem Asia/Tel_Aviv Israel"),
    ("Arabian Time", "Arabian Standard Time", "Arabian Daylight Time", "AST", "Asia/Riyadh Asia/Baghdad Asia/Kuwait"),
    ("Gulf Standard Time", "Gulf Standard Time", "Gulf Standard Time", "GST", "Asia/Dubai Asia/Muscat"),
    ("Iran Time", "Iran Standard Time", "Iran Daylight Time", "IRST", "Asia/Tehran Iran"),
    ("Pakistan Time", "Pakistan Standard Time", "Pakistan Summer Time", "PKT", "Asia/Karachi"),
    ("India Standard Time", "India Standard Time", "India Standard Time", "IST", "Asia/Kolkata Asia/Calcutta"),
    ("Bangladesh Time", "Bangladesh Standard Time", "Bangladesh Summer Time", "BST", "Asia/Dhaka"),
    ("Indochina Time", "Indochina Time", "Indochina Time", "ICT", "Asia/Bangkok Asia/Ho_Chi_Minh Asia/Saigon"),
    ("Western Indonesia Time", "Western Indonesia Time", "Western Indonesia Time", "WIB", "Asia/Jakarta"),
    (
        "Singapore Standard Time",
        "Singapore Standard Time",
        "Singapore Standard Time",
        "SGT",
        "Asia/Singapore Singapore"
    ),
    ("Hong Kong Time", "Hong Kong Standard Time", "Hong Kong Summer Time", "HKT", "Asia/Hong_Kong Hongkong"),
    ("China Time", "China Standard Time", "China Daylight Time", "CST", "Asia/Shanghai Asia/Chongqing PRC Asia/Macau"),
    ("Taipei Time", "Taipei Standard Time", "Taipei Daylight Time", "CST", "Asia/Taipei"),
    ("Philippine Time", "Philippine Standard Time", "Philippine Summer Time", "PST", "Asia/Manila"),
    ("Japan Time", "Japan Standard Time", "Japan Daylight Time", "JST", "Asia/Tokyo Japan"),
    ("Korean Time", "Korean Standard Time", "Korean Daylight Time", "KST", "Asia/Seoul ROK"),
    (
        "Western Australia Time",
        "Australian Western Standard Time",
        "Australian Western Daylight Time",
        "AWT",
        "Australia/Perth"
    ),
    (
        "Central Australia Time",
        "Australian Central Standard Time",
        "Australian Central Daylight Time",
        "ACT",
        "Australia/Adelaide Australia/Darwin"
    ),
    (
        "Eastern Australia Time",
        "Australian Eastern Standard Time",
        "Australian Eastern Daylight Time",
        "AET",
        "Australia/Sydney Australia/Melbourne Australia/Brisbane Australia/Hobart Australia/Canberra"
    ),
    ("New Zealand Time", "New Zealand Standard Time", "New Zealand Daylight Time", "NZT", "Pacific/Auckland NZ"),
];

/// Abbreviations that are not names of zones, and zones that have them.
const SHORT: [(&str, &str); 13] = [
    ("CEST", "Europe/Paris"),
    ("EEST", "Europe/Athens"),
    ("WEST", "Europe/Lisbon"),
    ("BST", "Europe/London"),
    ("MSK", "Europe/Moscow"),
    ("EDT", "America/New_York"),
    ("CDT", "America/Chicago"),
    ("MDT", "America/Denver"),
    ("PDT", "America/Los_Angeles"),
    ("AEST", "Australia/Sydney"),
    ("AEDT", "Australia/Sydney"),
    ("KST", "Asia/Seoul"),
    ("NZDT", "Pacific/Auckland"),
];

/// The names of a zone.
pub(super) fn zone_name(zone: Tz) -> Option<&'static ZoneName> {
    ZONES.iter().find(|(_, zones)| zones.split_ascii_whitespace().any(|z| z == zone.name())).map(|(name, _)| name)
}

/// The zone whose name or abbreviation a text begins with, and the rest of it.
pub(super) fn zone_by_name(text: &str) -> Option<(Zone, &str)> {
    let strip = |name: &str| {
        let head = text.get(..name.len())?;
        let rest = &text[name.len()..];
        let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
        (head.eq_ignore_ascii_case(name) && ends).then_some(rest)
    };
    if let Some(rest) = strip("Coordinated Universal Time") {
        return Some((Zone::UTC, rest));
    }
    for (names, zones) in ZONES {
        if let Some(rest) = [names.standard, names.summer, names.generic].into_iter().find_map(strip) {
            let first = zones.split_ascii_whitespace().find(|z| z.starts_with("Europe/")).or(zones.split(' ').next());
            return Some((Zone::parse(first?)?, rest));
        }
    }
    SHORT.iter().find_map(|(short, zone)| Some((Zone::parse(zone)?, strip(short)?)))
}
