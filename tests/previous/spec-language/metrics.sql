CREATE TABLE events(seq BIGINT, id VARCHAR, happened_at BIGINT, received_at BIGINT, "name" VARCHAR, units VARCHAR, fields VARCHAR, "trusted" BOOLEAN);
CREATE TABLE meta("key" VARCHAR, "value" VARCHAR);
CREATE TABLE quarantine(number BIGINT, received_at BIGINT, "position" BIGINT, id VARCHAR, field VARCHAR, reason VARCHAR, code VARCHAR, "event" VARCHAR);
INSERT INTO meta VALUES
('schema', '1');
INSERT INTO events VALUES
(1, 'exposure:b4ef0d239935a7d81808c76b06261214', 1767571200000000, 1767573000000000, 'exposure', '{"order_id":"order-0"}', '{"experiment":"cancel-page","seed":1,"variant":"treatment","source":"evaluation"}', TRUE),
(2, 'r0', 1767571500000000, 1767573000000000, 'satisfaction_rated', '{"order_id":"order-0"}', '{"score":2000000}', TRUE),
(3, 'exposure:b0d388dd820dbdfa48c1e8f7599b4f70', 1767571260000000, 1767573000000000, 'exposure', '{"order_id":"order-1"}', '{"experiment":"cancel-page","seed":1,"variant":"control","source":"evaluation"}', TRUE),
(4, 'r1', 1767571560000000, 1767573000000000, 'satisfaction_rated', '{"order_id":"order-1"}', '{"score":4500000}', TRUE),
(5, 'exposure:e757285415e2f616368af0c3a758516a', 1767571320000000, 1767573000000000, 'exposure', '{"order_id":"order-2"}', '{"experiment":"cancel-page","seed":1,"variant":"control","source":"evaluation"}', TRUE),
(6, 'r2', 1767571620000000, 1767573000000000, 'satisfaction_rated', '{"order_id":"order-2"}', '{"score":4500000}', TRUE),
(7, 'exposure:77d185c3f4c30acabe766d4ebe9d720f', 1767571380000000, 1767573000000000, 'exposure', '{"order_id":"order-3"}', '{"experiment":"cancel-page","seed":1,"variant":"treatment","source":"evaluation"}', TRUE),
(8, 'r3', 1767571680000000, 1767573000000000, 'satisfaction_rated', '{"order_id":"order-3"}', '{"score":2000000}', TRUE),
(9, 'exposure:14a64653027244b2f254cfe1d382ec1b', 1767571440000000, 1767573000000000, 'exposure', '{"order_id":"order-4"}', '{"experiment":"cancel-page","seed":1,"variant":"treatment","source":"evaluation"}', TRUE),
(10, 'r4', 1767571740000000, 1767573000000000, 'satisfaction_rated', '{"order_id":"order-4"}', '{"score":2000000}', TRUE),
(11, 'exposure:de6ec224664c3237a8499a6c556d23f3', 1767571500000000, 1767573000000000, 'exposure', '{"order_id":"order-5"}', '{"experiment":"cancel-page","seed":1,"variant":"control","source":"evaluation"}', TRUE),
(12, 'r5', 1767571800000000, 1767573000000000, 'satisfaction_rated', '{"order_id":"order-5"}', '{"score":4500000}', TRUE),
(13, 'exposure:21695b6914610dd8e52e4d03e6e2ab8c', 1767571560000000, 1767573000000000, 'exposure', '{"order_id":"order-6"}', '{"experiment":"cancel-page","seed":1,"variant":"treatment","source":"evaluation"}', TRUE),
(14, 'r6', 1767571860000000, 1767573000000000, 'satisfaction_rated', '{"order_id":"order-6"}', '{"score":2000000}', TRUE),
(15, 'exposure:0d64fa8b1a360edac1039be17ecb04ca', 1767571620000000, 1767573000000000, 'exposure', '{"order_id":"order-7"}', '{"experiment":"cancel-page","seed":1,"variant":"treatment","source":"evaluation"}', TRUE),
(16, 'r7', 1767571920000000, 1767573000000000, 'satisfaction_rated', '{"order_id":"order-7"}', '{"score":2000000}', TRUE),
(17, 'exposure:f3f1bd09281a26590e89f46f8ba2346a', 1767571680000000, 1767573000000000, 'exposure', '{"order_id":"order-8"}', '{"experiment":"cancel-page","seed":1,"variant":"control","source":"evaluation"}', TRUE),
(18, 'r8', 1767571980000000, 1767573000000000, 'satisfaction_rated', '{"order_id":"order-8"}', '{"score":4500000}', TRUE),
(19, 'exposure:ff7f5d4f2d536f80f89230670f3e55d9', 1767571740000000, 1767573000000000, 'exposure', '{"order_id":"order-9"}', '{"experiment":"cancel-page","seed":1,"variant":"treatment","source":"evaluation"}', TRUE),
(20, 'r9', 1767572040000000, 1767573000000000, 'satisfaction_rated', '{"order_id":"order-9"}', '{"score":2000000}', TRUE),
(21, 'exposure:0782f413112b75011b72238eddd100bc', 1767571800000000, 1767573000000000, 'exposure', '{"order_id":"order-10"}', '{"experiment":"cancel-page","seed":1,"variant":"treatment","source":"evaluation"}', TRUE),
(22, 'r10', 1767572100000000, 1767573000000000, 'satisfaction_rated', '{"order_id":"order-10"}', '{"score":2000000}', TRUE),
(23, 'exposure:44cbb7cda720b171f0b8cf22bd6074d9', 1767571860000000, 1767573000000000, 'exposure', '{"order_id":"order-11"}', '{"experiment":"cancel-page","seed":1,"variant":"treatment","source":"evaluation"}', TRUE),
(24, 'r11', 1767572160000000, 1767573000000000, 'satisfaction_rated', '{"order_id":"order-11"}', '{"score":2000000}', TRUE);
