//! The tables of pg_catalog and information_schema, and their columns: those of Postgres 15 that clients read.
//!
//! A column is `name:type`; the type is `o` oid, `i` int4, `l` int8, `b` bool, `t` text, `f` float8, `T` text that may be NULL,
//! `O` an oid or number that may be NULL, `a` int2[], `A` text[] that may be NULL. A row names only what is not zero, empty or NULL.

/// Name and columns of each table.
pub(super) const TABLES: &[(&str, &str)] = &[
    (
        "pg_class",
        "oid:o relname:t relnamespace:o reltype:o reloftype:o relowner:o relam:o relfilenode:o reltablespace:o relpages:i reltuples:f relallvisible:i reltoastrelid:o relhasindex:b relisshared:b relpersistence:t relkind:t relnatts:i relchecks:i relhasrules:b relhastriggers:b relhassubclass:b relrowsecurity:b relforcerowsecurity:b relispopulated:b relreplident:t relispartition:b relrewrite:o relfrozenxid:o relminmxid:o relacl:A reloptions:A relpartbound:T relhasoids:b",
    ),
    (
        "pg_attribute",
        "attrelid:o attname:t atttypid:o attstattarget:i attlen:i attnum:i attndims:i attcacheoff:i atttypmod:i attbyval:b attalign:t attstorage:t attcompression:t attnotnull:b atthasdef:b atthasmissing:b attidentity:t attgenerated:t attisdropped:b attislocal:b attinhcount:i attcollation:o attacl:A attoptions:A attfdwoptions:A attmissingval:T",
    ),
    ("pg_namespace", "oid:o nspname:t nspowner:o nspacl:A"),
    (
        "pg_type",
        "oid:o typname:t typnamespace:o typowner:o typlen:i typbyval:b typtype:t typcategory:t typispreferred:b typisdefined:b typdelim:t typrelid:o typsubscript:t typelem:o typarray:o typinput:t typoutput:t typreceive:t typsend:t typmodin:t typmodout:t typanalyze:t typalign:t typstorage:t typnotnull:b typbasetype:o typtypmod:i typndims:i typcollation:o typdefaultbin:T typdefault:T typacl:A",
    ),
    (
        "pg_proc",
        "oid:o proname:t pronamespace:o proowner:o prolang:o procost:f prorows:f provariadic:o prosupport:t prokind:t prosecdef:b proleakproof:b proisstrict:b proretset:b provolatile:t proparallel:t pronargs:i pronargdefaults:i prorettype:o proargtypes:t proallargtypes:A proargmodes:A proargnames:A proargdefaults:T protrftypes:A prosrc:t probin:T prosqlbody:T proconfig:A proacl:A proisagg:b",
    ),
    (
        "pg_constraint",
        "oid:o conname:t connamespace:o contype:t condeferrable:b condeferred:b convalidated:b conrelid:o contypid:o conindid:o conparentid:o confrelid:o confupdtype:t confdeltype:t confmatchtype:t conislocal:b coninhcount:i connoinherit:b conkey:a confkey:a conpfeqop:A conppeqop:A conffeqop:A confdelsetcols:A conexclop:A conbin:T consrc:T",
    ),
    (
        "pg_index",
        "indexrelid:o indrelid:o indnatts:i indnkeyatts:i indisunique:b indnullsnotdistinct:b indisprimary:b indisexclusion:b indimmediate:b indisclustered:b indisvalid:b indcheckxmin:b indisready:b indislive:b indisreplident:b indkey:a indcollation:a indclass:a indoption:a indexprs:T indpred:T",
    ),
    (
        "pg_database",
        "oid:o datname:t datdba:o encoding:i datlocprovider:t datistemplate:b datallowconn:b datconnlimit:i datfrozenxid:o datminmxid:o dattablespace:o datcollate:t datctype:t daticulocale:T datcollversion:T datacl:A",
    ),
    (
        "pg_roles",
        "oid:o rolname:t rolsuper:b rolinherit:b rolcreaterole:b rolcreatedb:b rolcanlogin:b rolreplication:b rolconnlimit:i rolpassword:T rolvaliduntil:T rolbypassrls:b rolconfig:A",
    ),
    (
        "pg_authid",
        "oid:o rolname:t rolsuper:b rolinherit:b rolcreaterole:b rolcreatedb:b rolcanlogin:b rolreplication:b rolbypassrls:b rolconnlimit:i rolpassword:T rolvaliduntil:T",
    ),
    (
        "pg_user",
        "usename:t usesysid:o usecreatedb:b usesuper:b userepl:b usebypassrls:b passwd:T valuntil:T useconfig:A",
    ),
    ("pg_group", "groname:t grosysid:o grolist:A"),
    ("pg_auth_members", "roleid:o member:o grantor:o admin_option:b"),
    ("pg_am", "oid:o amname:t amhandler:t amtype:t"),
    ("pg_description", "objoid:o classoid:o objsubid:i description:t"),
    ("pg_shdescription", "objoid:o classoid:o description:t"),
    ("pg_seclabel", "objoid:o classoid:o objsubid:i provider:t label:t"),
    (
        "pg_settings",
        "name:t setting:t unit:T category:t short_desc:t extra_desc:T context:t vartype:t source:t min_val:T max_val:T enumvals:A boot_val:T reset_val:T sourcefile:T sourceline:O pending_restart:b",
    ),
    (
        "pg_tables",
        "schemaname:t tablename:t tableowner:t tablespace:T hasindexes:b hasrules:b hastriggers:b rowsecurity:b",
    ),
    ("pg_views", "schemaname:t viewname:t viewowner:t definition:t"),
    ("pg_matviews", "schemaname:t matviewname:t matviewowner:t tablespace:T hasindexes:b ispopulated:b definition:t"),
    ("pg_indexes", "schemaname:t tablename:t indexname:t tablespace:T indexdef:t"),
    (
        "pg_sequences",
        "schemaname:t sequencename:t sequenceowner:t data_type:t start_value:l min_value:l max_value:l increment_by:l cycle:b cache_size:l last_value:O",
    ),
    ("pg_attrdef", "oid:o adrelid:o adnum:i adbin:T adsrc:T"),
    ("pg_enum", "oid:o enumtypid:o enumsortorder:f enumlabel:t"),
    ("pg_range", "rngtypid:o rngsubtype:o rngmultitypid:o rngcollation:o rngsubopc:o rngcanonical:t rngsubdiff:t"),
    (
        "pg_extension",
        "oid:o extname:t extowner:o extnamespace:o extrelocatable:b extversion:t extconfig:A extcondition:A",
    ),
    ("pg_available_extensions", "name:t default_version:t installed_version:T comment:t"),
    ("pg_inherits", "inhrelid:o inhparent:o inhseqno:i inhdetachpending:b"),
    (
        "pg_partitioned_table",
        "partrelid:o partstrat:t partnatts:i partdefid:o partattrs:a partclass:a partcollation:a partexprs:T",
    ),
    ("pg_sequence", "seqrelid:o seqtypid:o seqstart:l seqincrement:l seqmax:l seqmin:l seqcache:l seqcycle:b"),
    (
        "pg_trigger",
        "oid:o tgrelid:o tgparentid:o tgname:t tgfoid:o tgtype:i tgenabled:t tgisinternal:b tgconstrrelid:o tgconstrindid:o tgconstraint:o tgdeferrable:b tginitdeferred:b tgnargs:i tgattr:a tgargs:T tgqual:T tgoldtable:T tgnewtable:T",
    ),
    ("pg_event_trigger", "oid:o evtname:t evtevent:t evtowner:o evtfoid:o evtenabled:t evttags:A"),
    ("pg_rewrite", "oid:o rulename:t ev_class:o ev_type:t ev_enabled:t is_instead:b ev_qual:T ev_action:T"),
    ("pg_rules", "schemaname:t tablename:t rulename:t definition:t"),
    ("pg_policy", "oid:o polname:t polrelid:o polcmd:t polpermissive:b polroles:A polqual:T polwithcheck:T"),
    ("pg_policies", "schemaname:t tablename:t policyname:t permissive:t roles:A cmd:t qual:T with_check:T"),
    (
        "pg_publication",
        "oid:o pubname:t pubowner:o puballtables:b pubinsert:b pubupdate:b pubdelete:b pubtruncate:b pubviaroot:b",
    ),
    ("pg_publication_rel", "oid:o prpubid:o prrelid:o prqual:T prattrs:A"),
    ("pg_publication_namespace", "oid:o pnpubid:o pnnspid:o"),
    ("pg_publication_tables", "pubname:t schemaname:t tablename:t"),
    ("pg_subscription", "oid:o subdbid:o subname:t subowner:o subenabled:b"),
    (
        "pg_statistic_ext",
        "oid:o stxrelid:o stxname:t stxnamespace:o stxowner:o stxstattarget:i stxkeys:a stxkind:A stxexprs:T",
    ),
    ("pg_stats", "schemaname:t tablename:t attname:t null_frac:f n_distinct:f"),
    (
        "pg_stat_activity",
        "datid:o datname:t pid:i leader_pid:O usesysid:o usename:t application_name:t client_addr:T client_hostname:T client_port:i backend_start:T xact_start:T query_start:T state_change:T wait_event_type:T wait_event:T state:t backend_xid:O backend_xmin:O query_id:O query:t backend_type:t",
    ),
    (
        "pg_stat_database",
        "datid:o datname:t numbackends:i xact_commit:l xact_rollback:l blks_read:l blks_hit:l tup_returned:l tup_fetched:l tup_inserted:l tup_updated:l tup_deleted:l",
    ),
    (
        "pg_stat_user_tables",
        "relid:o schemaname:t relname:t seq_scan:l seq_tup_read:l idx_scan:l idx_tup_fetch:l n_tup_ins:l n_tup_upd:l n_tup_del:l n_live_tup:l n_dead_tup:l last_vacuum:T last_analyze:T",
    ),
    (
        "pg_stat_all_tables",
        "relid:o schemaname:t relname:t seq_scan:l seq_tup_read:l idx_scan:l idx_tup_fetch:l n_tup_ins:l n_tup_upd:l n_tup_del:l n_live_tup:l n_dead_tup:l",
    ),
    ("pg_stat_ssl", "pid:i ssl:b version:T cipher:T bits:O client_dn:T"),
    ("pg_stat_gssapi", "pid:i gss_authenticated:b encrypted:b"),
    ("pg_statio_user_tables", "relid:o schemaname:t relname:t heap_blks_read:l heap_blks_hit:l"),
    ("pg_locks", "locktype:t database:O relation:O pid:i mode:t granted:b"),
    ("pg_prepared_xacts", "transaction:o gid:t prepared:T owner:t database:t"),
    ("pg_replication_slots", "slot_name:t plugin:T slot_type:t datoid:O database:T active:b"),
    (
        "pg_collation",
        "oid:o collname:t collnamespace:o collowner:o collprovider:t collisdeterministic:b collencoding:i collcollate:t collctype:t colliculocale:T collversion:T",
    ),
    (
        "pg_language",
        "oid:o lanname:t lanowner:o lanispl:b lanpltrusted:b lanplcallfoid:o laninline:o lanvalidator:o lanacl:A",
    ),
    (
        "pg_opclass",
        "oid:o opcmethod:o opcname:t opcnamespace:o opcowner:o opcfamily:o opcintype:o opcdefault:b opckeytype:o",
    ),
    ("pg_opfamily", "oid:o opfmethod:o opfname:t opfnamespace:o opfowner:o"),
    (
        "pg_operator",
        "oid:o oprname:t oprnamespace:o oprowner:o oprkind:t oprcanmerge:b oprcanhash:b oprleft:o oprright:o oprresult:o oprcode:t",
    ),
    ("pg_cast", "oid:o castsource:o casttarget:o castfunc:o castcontext:t castmethod:t"),
    (
        "pg_conversion",
        "oid:o conname:t connamespace:o conowner:o conforencoding:i contoencoding:i conproc:t condefault:b",
    ),
    ("pg_aggregate", "aggfnoid:t aggkind:t aggnumdirectargs:i"),
    ("pg_tablespace", "oid:o spcname:t spcowner:o spcacl:A spcoptions:A"),
    ("pg_foreign_table", "ftrelid:o ftserver:o ftoptions:A"),
    ("pg_foreign_server", "oid:o srvname:t srvowner:o srvfdw:o srvtype:T srvversion:T srvacl:A srvoptions:A"),
    ("pg_foreign_data_wrapper", "oid:o fdwname:t fdwowner:o fdwhandler:o fdwvalidator:o fdwacl:A fdwoptions:A"),
    ("pg_user_mappings", "umid:o srvid:o srvname:t umuser:o usename:t umoptions:A"),
    ("pg_depend", "classid:o objid:o objsubid:i refclassid:o refobjid:o refobjsubid:i deptype:t"),
    ("pg_shdepend", "dbid:o classid:o objid:o objsubid:i refclassid:o refobjid:o deptype:t"),
    ("pg_ts_config", "oid:o cfgname:t cfgnamespace:o cfgowner:o cfgparser:o"),
    ("pg_ts_dict", "oid:o dictname:t dictnamespace:o dictowner:o"),
    ("pg_get_keywords", "word:t catcode:t catdesc:t"),
    ("pg_timezone_names", "name:t abbrev:t utc_offset:t is_dst:b"),
    ("pg_cursors", "name:t statement:t is_holdable:b is_binary:b is_scrollable:b creation_time:T"),
    ("pg_prepared_statements", "name:t statement:t prepare_time:T parameter_types:A from_sql:b"),
    (
        "information_schema.schemata",
        "catalog_name:t schema_name:t schema_owner:t default_character_set_catalog:T default_character_set_schema:T default_character_set_name:T sql_path:T",
    ),
    (
        "information_schema.tables",
        "table_catalog:t table_schema:t table_name:t table_type:t self_referencing_column_name:T reference_generation:T user_defined_type_catalog:T user_defined_type_schema:T user_defined_type_name:T is_insertable_into:t is_typed:t commit_action:T",
    ),
    (
        "information_schema.columns",
        "table_catalog:t table_schema:t table_name:t column_name:t ordinal_position:i column_default:T is_nullable:t data_type:t character_maximum_length:O character_octet_length:O numeric_precision:O numeric_precision_radix:O numeric_scale:O datetime_precision:O interval_type:T interval_precision:O character_set_catalog:T character_set_schema:T character_set_name:T collation_catalog:T collation_schema:T collation_name:T domain_catalog:T domain_schema:T domain_name:T udt_catalog:t udt_schema:t udt_name:t scope_catalog:T scope_schema:T scope_name:T maximum_cardinality:O dtd_identifier:t is_self_referencing:t is_identity:t identity_generation:T identity_start:T identity_increment:T identity_maximum:T identity_minimum:T identity_cycle:t is_generated:t generation_expression:T is_updatable:t",
    ),
    (
        "information_schema.views",
        "table_catalog:t table_schema:t table_name:t view_definition:T check_option:t is_updatable:t is_insertable_into:t",
    ),
    (
        "information_schema.table_constraints",
        "constraint_catalog:t constraint_schema:t constraint_name:t table_catalog:t table_schema:t table_name:t constraint_type:t is_deferrable:t initially_deferred:t enforced:t",
    ),
    (
        "information_schema.key_column_usage",
        "constraint_catalog:t constraint_schema:t constraint_name:t table_catalog:t table_schema:t table_name:t column_name:t ordinal_position:i position_in_unique_constraint:O",
    ),
    (
        "information_schema.constraint_column_usage",
        "table_catalog:t table_schema:t table_name:t column_name:t constraint_catalog:t constraint_schema:t constraint_name:t",
    ),
    (
        "information_schema.constraint_table_usage",
        "table_catalog:t table_schema:t table_name:t constraint_catalog:t constraint_schema:t constraint_name:t",
    ),
    (
        "information_schema.referential_constraints",
        "constraint_catalog:t constraint_schema:t constraint_name:t unique_constraint_catalog:T unique_constraint_schema:T unique_constraint_name:T match_option:t update_rule:t delete_rule:t",
    ),
    (
        "information_schema.check_constraints",
        "constraint_catalog:t constraint_schema:t constraint_name:t check_clause:t",
    ),
    (
        "information_schema.routines",
        "specific_catalog:t specific_schema:t specific_name:t routine_catalog:t routine_schema:t routine_name:t routine_type:t data_type:t type_udt_name:T external_language:t routine_definition:T",
    ),
    (
        "information_schema.parameters",
        "specific_catalog:t specific_schema:t specific_name:t ordinal_position:i parameter_mode:t parameter_name:T data_type:t",
    ),
    (
        "information_schema.sequences",
        "sequence_catalog:t sequence_schema:t sequence_name:t data_type:t start_value:t minimum_value:t maximum_value:t increment:t",
    ),
    (
        "information_schema.triggers",
        "trigger_catalog:t trigger_schema:t trigger_name:t event_manipulation:t event_object_catalog:t event_object_schema:t event_object_table:t action_statement:t action_timing:t",
    ),
    (
        "information_schema.table_privileges",
        "grantor:t grantee:t table_catalog:t table_schema:t table_name:t privilege_type:t is_grantable:t with_hierarchy:t",
    ),
    (
        "information_schema.role_table_grants",
        "grantor:t grantee:t table_catalog:t table_schema:t table_name:t privilege_type:t is_grantable:t with_hierarchy:t",
    ),
    (
        "information_schema.column_privileges",
        "grantor:t grantee:t table_catalog:t table_schema:t table_name:t column_name:t privilege_type:t is_grantable:t",
    ),
    ("information_schema.domains", "domain_catalog:t domain_schema:t domain_name:t data_type:t"),
    (
        "information_schema.character_sets",
        "character_set_catalog:T character_set_schema:T character_set_name:t default_collate_name:t",
    ),
    ("information_schema.information_schema_catalog_name", "catalog_name:t"),
    ("information_schema.enabled_roles", "role_name:t"),
    (
        "information_schema.element_types",
        "object_catalog:t object_schema:t object_name:t object_type:t collection_type_identifier:t data_type:t",
    ),
];
