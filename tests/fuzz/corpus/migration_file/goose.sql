-- +goose Up
-- +goose StatementBegin
CREATE TABLE a (x INTEGER);
-- +goose StatementEnd
-- +goose Down
DROP TABLE a;
