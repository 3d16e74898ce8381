#include "migrate/catalog.hpp"

#include "base/json.hpp"
#include "base/json_text.hpp"
#include "base/sha256.hpp"
#include "sql/lexer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

namespace gf::migrate {
namespace {

bool is_plain_name(std::string_view name) {
  return !name.empty() && !(name.front() >= '0' && name.front() <= '9') &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
         });
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

Result<Catalog> read_sqlite(sql::Connection& connection) {
  Catalog catalog;
  GF_TRY(const auto objects, connection.query("SELECT type, name, tbl_name, sql FROM sqlite_schema "
                                              "WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"));
  for (std::size_t i = 0; i < objects.rows.size(); ++i) {
    const auto& type = objects.text(i, 0);
    const auto& name = objects.text(i, 1);
    const auto& table = objects.text(i, 2);
    if (table == history_table || table == snapshot_table) continue;
    // An index that a constraint made has no text; the constraint is in the table's.
    if (objects.is_null(i, 3)) continue;
    catalog.push_back({type, lower(name), canonical_sql(objects.text(i, 3), sql::Dialect::sqlite)});
    if (type != "table") continue;
    GF_TRY(const auto columns, connection.query(fmt::format(
                                   "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo({})",
                                   sql::quoted_text(name))));
    for (std::size_t c = 0; c < columns.rows.size(); ++c) {
      std::string definition = lower(columns.text(c, 1));
      if (columns.integer(c, 2) != 0) definition += " not null";
      if (!columns.is_null(c, 3)) {
        definition += " default " + canonical_sql(columns.text(c, 3), sql::Dialect::sqlite);
      }
      if (columns.integer(c, 4) != 0) definition += fmt::format(" primary key {}", columns.integer(c, 4));
      if (columns.integer(c, 5) > 1) definition += " generated";
      catalog.push_back({"column", lower(name) + "." + lower(columns.text(c, 0)), definition});
    }
  }
  std::sort(catalog.begin(), catalog.end());
  return catalog;
}

// Names are given with their schema always: with an empty search path the server's rendering is the same for everyone.
constexpr std::string_view user_schema =
    "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'";

std::string not_member(std::string_view catalog, std::string_view oid) {
  return fmt::format(
      "NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = '{}'::regclass AND d.objid = {} AND "
      "d.deptype = 'e')",
      catalog, oid);
}

const std::string& own_tables() {
  static const std::string list = fmt::format("('{}', '{}', '{}_id_seq', '{}_pkey', '{}_pkey')", history_table,
                                              snapshot_table, history_table, history_table, snapshot_table);
  return list;
}

/// Sets an empty search path while it lives, inside a transaction or not.
class EmptySearchPath {
 public:
  static Result<EmptySearchPath> set(sql::Connection& connection) {
    GF_TRY(const auto before, connection.query("SELECT current_setting('search_path')"));
    GF_TRYV(connection.execute("SELECT set_config('search_path', '', false)"));
    return EmptySearchPath(connection, before.text(0, 0));
  }
  EmptySearchPath(EmptySearchPath&& other) noexcept
      : connection_(std::exchange(other.connection_, nullptr)), before_(std::move(other.before_)) {}
  EmptySearchPath& operator=(EmptySearchPath&&) = delete;
  ~EmptySearchPath() {
    if (connection_ == nullptr) return;
    (void)connection_->execute(fmt::format("SELECT set_config('search_path', {}, false)", sql::quoted_text(before_)));
  }

 private:
  EmptySearchPath(sql::Connection& connection, std::string before)
      : connection_(&connection), before_(std::move(before)) {}
  sql::Connection* connection_;
  std::string before_;
};

std::vector<std::string> postgres_queries() {
  const auto& own = own_tables();
  const auto member = [](std::string_view catalog, std::string_view oid) { return not_member(catalog, oid); };
  return {
      fmt::format("SELECT 'schema', n.nspname, '' FROM pg_namespace n WHERE {} AND {}", user_schema,
                  member("pg_namespace", "n.oid")),
      // NOLINTNEXTLINE(bugprone-suspicious-missing-comma): one query on two lines.
      "SELECT 'extension', e.extname, 'schema ' || n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = "
      "e.extnamespace WHERE e.extname <> 'plpgsql'",
      fmt::format(
          "SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' "
          "ELSE 'table' END, n.nspname || '.' || c.relname, CASE WHEN c.relkind IN ('v', 'm') THEN "
          "pg_get_viewdef(c.oid) "
          "ELSE c.relpersistence::text || coalesce(' partition by ' || pg_get_partkeydef(c.oid), '') || "
          "coalesce(' ' || pg_get_expr(c.relpartbound, c.oid), '') || CASE WHEN c.relrowsecurity THEN ' row security' "
          "ELSE '' END || coalesce(' inherits ' || (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY "
          "i.inhseqno) FROM pg_inherits i WHERE i.inhrelid = c.oid), '') || coalesce(' with ' || "
          "array_to_string(c.reloptions, ', '), '') END FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
          "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {} AND {} AND c.relname NOT IN {}",
          user_schema, member("pg_class", "c.oid"), own),
      fmt::format(
          "SELECT 'column', n.nspname || '.' || c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod) || "
          "CASE WHEN a.attcollation <> t.typcollation AND a.attcollation <> 0 THEN ' collate ' || "
          "a.attcollation::regcollation::text ELSE '' END || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END || "
          "CASE "
          "WHEN a.attidentity <> '' THEN ' identity ' || a.attidentity::text ELSE '' END || CASE WHEN a.attgenerated "
          "<> '' "
          "THEN ' generated ' ELSE '' END || coalesce(' default ' || pg_get_expr(ad.adbin, ad.adrelid), '') FROM "
          "pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN "
          "pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum "
          "WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f') AND {} AND {} AND c.relname NOT "
          "IN {}",
          user_schema, member("pg_class", "c.oid"), own),
      fmt::format(
          "SELECT 'index', n.nspname || '.' || c.relname, pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN "
          "'' "
          "ELSE ' INVALID' END FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = "
          "c.relnamespace WHERE {} AND {} AND c.relname NOT IN {}",
          user_schema, member("pg_class", "i.indrelid"), own),
      fmt::format(
          "SELECT 'constraint', n.nspname || '.' || c.relname || '.' || k.conname, pg_get_constraintdef(k.oid) FROM "
          "pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE "
          "{} "
          "AND {} AND c.relname NOT IN {}",
          user_schema, member("pg_class", "c.oid"), own),
      fmt::format(
          "SELECT 'sequence', n.nspname || '.' || c.relname, format('%s start %s increment %s min %s max %s cache "
          "%s%s', "
          "s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN "
          "' "
          "cycle' ELSE '' END) FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = "
          "c.relnamespace WHERE {} AND {} AND c.relname NOT IN {}",
          user_schema, member("pg_class", "c.oid"), own),
      fmt::format(
          "SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END, n.nspname || "
          "'.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', CASE WHEN p.prokind = 'a' THEN "
          "pg_get_function_result(p.oid) ELSE pg_get_functiondef(p.oid) END FROM pg_proc p JOIN pg_namespace n ON "
          "n.oid = "
          "p.pronamespace WHERE {} AND {}",
          user_schema, member("pg_proc", "p.oid")),
      fmt::format(
          "SELECT 'trigger', n.nspname || '.' || c.relname || '.' || t.tgname, pg_get_triggerdef(t.oid) || ' ' || "
          "t.tgenabled::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = "
          "c.relnamespace WHERE NOT t.tgisinternal AND {} AND {}",
          user_schema, member("pg_class", "c.oid")),
      fmt::format("SELECT 'rule', n.nspname || '.' || c.relname || '.' || r.rulename, pg_get_ruledef(r.oid) FROM "
                  "pg_rewrite r JOIN "
                  "pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.rulename <> "
                  "'_RETURN' "
                  "AND {} AND {}",
                  user_schema, member("pg_class", "c.oid")),
      fmt::format(
          "SELECT CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' ELSE 'type' END, n.nspname || '.' || "
          "t.typname, CASE t.typtype WHEN 'e' THEN (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY "
          "e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) WHEN 'd' THEN format_type(t.typbasetype, "
          "t.typtypmod) || CASE WHEN t.typnotnull THEN ' not null' ELSE '' END || coalesce(' default ' || "
          "t.typdefault, "
          "'') || coalesce((SELECT string_agg(' ' || pg_get_constraintdef(k.oid), '' ORDER BY k.conname) FROM "
          "pg_constraint k WHERE k.contypid = t.oid), '') ELSE (SELECT string_agg(a.attname || ' ' || "
          "format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = "
          "t.typrelid) END FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid "
          "= "
          "t.typrelid WHERE (t.typtype IN ('e', 'd') OR (t.typtype = 'c' AND c.relkind = 'c')) AND {} AND {}",
          user_schema, member("pg_type", "t.oid")),
      fmt::format(
          "SELECT 'policy', n.nspname || '.' || c.relname || '.' || p.polname, p.polcmd::text || ' ' || "
          "p.polpermissive::text || coalesce(' using ' || pg_get_expr(p.polqual, p.polrelid), '') || coalesce(' check "
          "' || "
          "pg_get_expr(p.polwithcheck, p.polrelid), '') FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN "
          "pg_namespace n ON n.oid = c.relnamespace WHERE {}",
          user_schema),
      fmt::format("SELECT 'comment', n.nspname || '.' || c.relname || CASE WHEN d.objsubid > 0 THEN '.' || (SELECT "
                  "a.attname FROM "
                  "pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = d.objsubid) ELSE '' END, d.description FROM "
                  "pg_description d JOIN pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_class'::regclass JOIN "
                  "pg_namespace n "
                  "ON n.oid = c.relnamespace WHERE {} AND {} AND c.relname NOT IN {}",
                  user_schema, member("pg_class", "c.oid"), own),
  };
}

Result<Catalog> read_postgres(sql::Connection& connection) {
  GF_TRY(const auto path, EmptySearchPath::set(connection));
  Catalog catalog;
  for (const auto& query : postgres_queries()) {
    GF_TRY(const auto rows, connection.query(query));
    for (std::size_t i = 0; i < rows.rows.size(); ++i) {
      catalog.push_back({rows.text(i, 0), rows.text(i, 1), rows.text(i, 2)});
    }
  }
  std::sort(catalog.begin(), catalog.end());
  return catalog;
}

Result<std::string> dump_sqlite(sql::Connection& connection) {
  GF_TRY(
      const auto rows,
      connection.query("SELECT sql, tbl_name FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' "
                       "ESCAPE '\\' ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1 WHEN 'view' THEN 2 ELSE "
                       "3 END, CASE WHEN type IN ('view', 'trigger') THEN rowid END, name"));
  std::string script;
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    if (rows.text(i, 1) == history_table || rows.text(i, 1) == snapshot_table) continue;
    script += rows.text(i, 0) + ";\n";
  }
  return script;
}

// In an order in which each statement finds what it names: types, sequences and functions (bodies unchecked) before
// tables, then views by their age, and what hangs on tables at the end.
Result<std::string> dump_postgres(sql::Connection& connection) {
  GF_TRY(const auto path, EmptySearchPath::set(connection));
  const auto& own = own_tables();
  const auto of = [&](std::string_view catalog, std::string_view oid) {
    return fmt::format("{} AND {}", user_schema, not_member(catalog, oid));
  };
  const std::vector<std::string> queries = {
      fmt::format("SELECT format('CREATE SCHEMA IF NOT EXISTS %I', n.nspname) FROM pg_namespace n WHERE {} ORDER BY "
                  "n.nspname",
                  of("pg_namespace", "n.oid")),
      // NOLINTNEXTLINE(bugprone-suspicious-missing-comma): one query on two lines.
      "SELECT format('CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA %I', e.extname, n.nspname) FROM pg_extension e "
      "JOIN "
      "pg_namespace n ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql' ORDER BY e.oid",
      fmt::format(
          "SELECT format('CREATE TYPE %I.%I AS ENUM (%s)', n.nspname, t.typname, (SELECT "
          "string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = "
          "t.oid)) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype = 'e' AND {} ORDER "
          "BY t.oid",
          of("pg_type", "t.oid")),
      fmt::format(
          "SELECT CASE t.typtype WHEN 'd' THEN format('CREATE DOMAIN %I.%I AS %s%s%s%s', n.nspname, t.typname, "
          "format_type(t.typbasetype, t.typtypmod), CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END, coalesce(' "
          "DEFAULT "
          "' || t.typdefault, ''), coalesce((SELECT string_agg(format(' CONSTRAINT %I %s', k.conname, "
          "pg_get_constraintdef(k.oid)), '' ORDER BY k.conname) FROM pg_constraint k WHERE k.contypid = t.oid), '')) "
          "ELSE "
          "format('CREATE TYPE %I.%I AS (%s)', n.nspname, t.typname, (SELECT string_agg(format('%I %s', a.attname, "
          "format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = "
          "t.typrelid)) END FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid "
          "= "
          "t.typrelid WHERE (t.typtype = 'd' OR (t.typtype = 'c' AND c.relkind = 'c')) AND {} ORDER BY t.oid",
          of("pg_type", "t.oid")),
      fmt::format("SELECT format('CREATE SEQUENCE %I.%I AS %s START %s INCREMENT %s MINVALUE %s MAXVALUE %s CACHE "
                  "%s%s', n.nspname, "
                  "c.relname, s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, CASE "
                  "WHEN s.seqcycle "
                  "THEN ' CYCLE' ELSE '' END) FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN "
                  "pg_namespace n ON n.oid "
                  "= c.relnamespace WHERE NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = "
                  "'i') AND {} "
                  "AND c.relname NOT IN {} ORDER BY c.oid",
                  of("pg_class", "c.oid"), own),
      fmt::format(
          "SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE "
          "p.prokind IN ('f', 'p', 'w') AND p.prosqlbody IS NULL AND NOT EXISTS (SELECT 1 FROM pg_depend d JOIN "
          "pg_type t ON t.oid = d.refobjid JOIN pg_class c ON c.oid = t.typrelid WHERE d.classid = "
          "'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_type'::regclass AND c.relkind <> 'c') AND {} "
          "ORDER BY p.oid",
          of("pg_proc", "p.oid")),
      fmt::format(
          "SELECT format('CREATE %sTABLE %I.%I %s%s%s%s', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END, "
          "n.nspname, c.relname, CASE WHEN c.relispartition THEN format('PARTITION OF %s %s', (SELECT "
          "i.inhparent::regclass "
          "FROM pg_inherits i WHERE i.inhrelid = c.oid), pg_get_expr(c.relpartbound, c.oid)) ELSE format('(%s)', "
          "(SELECT "
          "string_agg(format('%I %s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attcollation "
          "<> "
          "t.typcollation AND a.attcollation <> 0 THEN ' COLLATE ' || a.attcollation::regcollation::text ELSE '' END, "
          "CASE "
          "WHEN a.attgenerated <> '' THEN format(' GENERATED ALWAYS AS (%s) STORED', pg_get_expr(ad.adbin, "
          "ad.adrelid)) "
          "WHEN a.attidentity = 'a' THEN ' GENERATED ALWAYS AS IDENTITY' WHEN a.attidentity = 'd' THEN ' GENERATED BY "
          "DEFAULT AS IDENTITY' ELSE coalesce(' DEFAULT ' || pg_get_expr(ad.adbin, ad.adrelid), '') END, CASE WHEN "
          "a.attnotnull THEN ' NOT NULL' ELSE '' END), ', ' ORDER BY a.attnum) FROM pg_attribute a JOIN pg_type t ON "
          "t.oid "
          "= a.atttypid LEFT JOIN pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum WHERE a.attrelid = "
          "c.oid "
          "AND a.attnum > 0 AND NOT a.attisdropped AND a.attislocal)) END, CASE WHEN NOT c.relispartition THEN "
          "coalesce((SELECT ' "
          "INHERITS (' || string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) || ')' FROM pg_inherits i "
          "WHERE "
          "i.inhrelid = c.oid), '') ELSE '' END, coalesce(' PARTITION BY ' || pg_get_partkeydef(c.oid), ''), "
          "coalesce(' WITH "
          "(' || array_to_string(c.reloptions, ', ') || ')', '')) FROM pg_class c JOIN pg_namespace n ON n.oid = "
          "c.relnamespace WHERE c.relkind IN ('r', 'p') AND {} AND c.relname NOT IN {} ORDER BY c.oid",
          of("pg_class", "c.oid"), own),
      fmt::format(
          "SELECT format('ALTER SEQUENCE %s OWNED BY %s.%I', c.oid::regclass, d.refobjid::regclass, a.attname) FROM "
          "pg_class c "
          "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'a' AND "
          "d.classid = 'pg_class'::regclass AND d.refobjsubid > 0 JOIN pg_attribute a ON a.attrelid = d.refobjid AND "
          "a.attnum "
          "= d.refobjsubid WHERE c.relkind = 'S' AND {} AND c.relname NOT IN {}",
          of("pg_class", "c.oid"), own),
      fmt::format(
          "SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE "
          "p.prokind IN ('f', 'p', 'w') AND (p.prosqlbody IS NOT NULL OR EXISTS (SELECT 1 FROM pg_depend d JOIN "
          "pg_type t ON t.oid = d.refobjid JOIN pg_class c ON c.oid = t.typrelid WHERE d.classid = "
          "'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_type'::regclass AND c.relkind <> 'c')) AND "
          "{} ORDER BY p.oid",
          of("pg_proc", "p.oid")),
      // Keys and checks first, foreign keys when every key is there.
      fmt::format("SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', k.conrelid::regclass, k.conname, "
                  "pg_get_constraintdef(k.oid)) "
                  "FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = "
                  "c.relnamespace WHERE "
                  "k.conislocal AND k.conparentid = 0 AND k.contype IN ('p', 'u', 'x', 'c') AND {} AND c.relname NOT "
                  "IN {} ORDER BY "
                  "CASE k.contype WHEN 'p' THEN 0 WHEN 'u' THEN 1 ELSE 2 END, k.oid",
                  of("pg_class", "c.oid"), own),
      fmt::format("SELECT format('CREATE %sVIEW %s AS %s', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED ' ELSE '' END, "
                  "c.oid::regclass, rtrim(pg_get_viewdef(c.oid), ';')) FROM pg_class c JOIN pg_namespace n ON n.oid = "
                  "c.relnamespace WHERE c.relkind IN ('v', 'm') AND {} ORDER BY c.oid",
                  of("pg_class", "c.oid")),
      fmt::format("SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN "
                  "pg_namespace n "
                  "ON n.oid = c.relnamespace WHERE NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = "
                  "i.indexrelid AND "
                  "k.contype IN ('p', 'u', 'x')) AND NOT EXISTS (SELECT 1 FROM pg_inherits h WHERE h.inhrelid = "
                  "i.indexrelid) AND "
                  "{} AND c.relname NOT IN {} ORDER BY c.oid",
                  of("pg_class", "i.indrelid"), own),
      fmt::format("SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', k.conrelid::regclass, k.conname, "
                  "pg_get_constraintdef(k.oid)) "
                  "FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = "
                  "c.relnamespace WHERE "
                  "k.conparentid = 0 AND k.contype = 'f' AND {} ORDER BY k.oid",
                  of("pg_class", "c.oid")),
      fmt::format(
          "SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n "
          "ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND {} ORDER BY t.oid",
          of("pg_class", "c.oid")),
      fmt::format(
          "SELECT rtrim(pg_get_ruledef(r.oid), ';') FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN "
          "pg_namespace n ON n.oid = c.relnamespace WHERE r.rulename <> '_RETURN' AND {} ORDER BY r.oid",
          of("pg_class", "c.oid")),
      fmt::format("SELECT format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', c.oid::regclass) FROM pg_class c JOIN "
                  "pg_namespace n ON n.oid = c.relnamespace WHERE c.relrowsecurity AND {}",
                  of("pg_class", "c.oid")),
      fmt::format(
          "SELECT format('CREATE POLICY %I ON %s AS %s FOR %s%s%s', p.polname, p.polrelid::regclass, CASE WHEN "
          "p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' "
          "THEN "
          "'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END, coalesce(' USING (' || "
          "pg_get_expr(p.polqual, p.polrelid) || ')', ''), coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, "
          "p.polrelid) || ')', '')) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON "
          "n.oid = "
          "c.relnamespace WHERE {}",
          user_schema),
      fmt::format(
          "SELECT format('COMMENT ON %s %s IS %L', CASE WHEN d.objsubid > 0 THEN 'COLUMN' WHEN c.relkind = 'v' THEN "
          "'VIEW' "
          "WHEN c.relkind = 'm' THEN 'MATERIALIZED VIEW' WHEN c.relkind IN ('i', 'I') THEN 'INDEX' WHEN c.relkind = "
          "'S' THEN "
          "'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass::text || CASE WHEN d.objsubid > 0 THEN '.' || (SELECT "
          "quote_ident(a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = d.objsubid) ELSE '' END, "
          "d.description) FROM pg_description d JOIN pg_class c ON c.oid = d.objoid AND d.classoid = "
          "'pg_class'::regclass "
          "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind <> 'c' AND {} AND c.relname NOT IN {}",
          of("pg_class", "c.oid"), own),
  };
  std::string script = "SET check_function_bodies = off;\nSELECT pg_catalog.set_config('search_path', '', false);\n";
  for (const auto& query : queries) {
    GF_TRY(const auto rows, connection.query(query));
    for (std::size_t i = 0; i < rows.rows.size(); ++i) {
      std::string statement = rows.text(i, 0);
      while (!statement.empty() && (statement.back() == '\n' || statement.back() == ';')) statement.pop_back();
      script += statement + ";\n";
    }
  }
  return script;
}

}  // namespace

std::string canonical_sql(std::string_view text, sql::Dialect dialect) {
  std::string out;
  sql::Lexer lexer(text, dialect);
  for (auto token = lexer.next(); token.kind != sql::TokenKind::end; token = lexer.next()) {
    std::string_view shown = lexer.text_of(token);
    if (!out.empty()) out += ' ';
    if (token.kind == sql::TokenKind::word) {
      out += lower(std::string(shown));
    } else if (token.kind == sql::TokenKind::quoted_identifier && shown.size() > 2 &&
               is_plain_name(shown.substr(1, shown.size() - 2))) {
      out += lower(std::string(shown.substr(1, shown.size() - 2)));
    } else {
      out += shown;
    }
  }
  return out;
}

Result<Catalog> read_catalog(sql::Connection& connection) {
  return connection.dialect() == sql::Dialect::sqlite ? read_sqlite(connection) : read_postgres(connection);
}

Result<std::string> dump_schema(sql::Connection& connection) {
  return connection.dialect() == sql::Dialect::sqlite ? dump_sqlite(connection) : dump_postgres(connection);
}

std::vector<SchemaDifference> compare(const Catalog& expected, const Catalog& found) {
  using Key = std::pair<std::string, std::string>;
  std::map<Key, std::pair<const SchemaObject*, const SchemaObject*>> both;
  for (const auto& object : expected) both[{object.kind, object.name}].first = &object;
  for (const auto& object : found) both[{object.kind, object.name}].second = &object;
  const auto table_differs = [&](std::string_view column) {
    const auto dot = column.rfind('.');
    const auto table = both.find({"table", std::string(column.substr(0, dot))});
    return table != both.end() && (table->second.first == nullptr || table->second.second == nullptr);
  };
  std::vector<SchemaDifference> differences;
  std::set<std::string> explained;
  for (const auto& [key, pair] : both) {
    const auto& [kind, name] = key;
    const auto* before = pair.first;
    const auto* after = pair.second;
    if (before != nullptr && after != nullptr && before->definition == after->definition) continue;
    if (kind == "column") {
      // A table that is not there on one side says it for its columns.
      if (table_differs(name)) continue;
      explained.insert(name.substr(0, name.rfind('.')));
    }
    if (kind == "table" && before != nullptr && after != nullptr && explained.contains(name)) continue;
    const auto shown = [](const SchemaObject* object) {
      if (object == nullptr) return std::string();
      return object->definition.empty() ? std::string("present") : object->definition;
    };
    differences.push_back({kind, name, shown(before), shown(after)});
  }
  return differences;
}

std::string fingerprint(const Catalog& catalog) {
  Sha256 sum;
  for (const auto& object : catalog) {
    for (const auto* part : {&object.kind, &object.name, &object.definition}) {
      sum.add(*part);
      sum.add(std::string_view("\0", 1));
    }
  }
  return "v1:" + to_hex(sum.finish());
}

std::string to_record(const Catalog& catalog) {
  JsonText list;
  list.begin_array();
  for (const auto& object : catalog) {
    list.begin_array().text(object.kind).text(object.name).text(object.definition).end_array();
  }
  return std::move(list.end_array()).str();
}

Result<Catalog> from_record(std::string_view text) {
  GF_TRY(const auto document, parse_json(text, "the recorded schema"));
  const auto& list = *document;
  Catalog catalog;
  const Error broken{Status::corrupt_file, "the recorded schema is not a list of kind, name and definition", {}};
  if (!list.is_array()) return broken;
  for (const auto& entry : list) {
    if (!entry.is_array() || entry.size() != 3) return broken;
    for (const auto& part : entry) {
      if (!part.is_string()) return broken;
    }
    catalog.push_back({entry[0].get<std::string>(), entry[1].get<std::string>(), entry[2].get<std::string>()});
  }
  std::sort(catalog.begin(), catalog.end());
  return catalog;
}

}  // namespace gf::migrate
